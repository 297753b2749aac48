"""Report of an error analysis: its sentences claim what the numbers show, and it shows nothing hidden."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lowland.evidence.errors import analyse
from lowland.report.error_sentences import summary_sentences
from lowland.report.errors import error_blocks
from lowland.report.errors_json import analysis_as_json
from lowland.report.markdown import render
from tests.evidence.test_errors import answers_of


def analysis_of(seed=0, **options):
    return analyse(answers_of(seed, **options), method="lora", reference="lora")


def text_of(analysis, examples=3):
    return render(error_blocks(analysis, examples))


def test_the_summary_states_errors_changes_and_confidence():
    analysis = analysis_of(7, skill=1.0)
    sentences = list(summary_sentences(analysis))
    wrong = 1 - analysis.answers.methods["lora"].right.mean()
    assert f"lora gets {wrong:.1%} of the examples wrong." in sentences
    never = len(analysis.never_right)
    assert f"{never} examples ({never / 120:.1%}) are wrong in all 6 runs." in sentences
    [changed] = analysis.changes
    share = f"full and lora differ in being right in {changed.share:.1%} of the cases"
    assert any(sentence.startswith(share) for sentence in sentences)
    assert sum("fident" in sentence for sentence in sentences) == 3  # two methods, and the coverage


@pytest.mark.parametrize(("factor", "word"), [(0.3, "overconfident"), (1.0, "is not shown")])
def test_confidence_is_judged_by_its_interval(factor, word):
    answers = answers_of(1, methods=("lora",), examples=400, seeds=1, skill=0.5)
    for each in answers.methods.values():
        luck = np.random.default_rng(5).random(each.scores.shape)
        each.scores[:] = luck < each.confidence * factor
    sentences = list(summary_sentences(analyse(answers, method="lora", reference="lora")))
    assert any(sentence.startswith("lora ") and word in sentence for sentence in sentences)


def test_harder_categories_are_named_with_their_intervals_and_examples():
    answers = answers_of(6, examples=300, skill=2.0)
    hard = np.arange(300) % 3 == 0
    answers.examples.loc[hard, "text"] = "It did not pay."
    for each in answers.methods.values():
        each.scores[:, hard & (np.arange(300) % 2 == 0)] = 0.0
    text = text_of(analyse(answers, method="lora", reference="lora"))
    assert "Accuracy is lower than on other examples for the kind of text negation (-" in text
    assert "negation, those that the most runs get wrong:" in text
    assert "6 of 6" in text


def test_every_part_has_its_section():
    text = text_of(analysis_of(7, skill=1.0, wrong_labels=[4]))
    for title in ("Confusions", "Fixed and broken", "Wrong in every run", "Confidence"):
        assert f"## {title}" in text
    assert "## Most confident mistakes of lora" in text
    assert "nan" not in text.casefold().replace("finance", "")


def test_no_examples_are_shown_if_none_are_asked_for():
    text = text_of(analysis_of(7, skill=1.0, wrong_labels=[4]), examples=0)
    assert "text 1" not in text
    assert "Most confident mistakes" not in text
    assert "wrong in all 6 runs" in text


def test_many_labels_are_shown_by_their_frequent_confusions_only():
    answers = answers_of(7, skill=1.0)
    many = answers.__class__(
        answers.examples, (*answers.labels, *[f"label {n}" for n in range(20)]), answers.methods, "toy"
    )
    from lowland.report.errors import _confusions

    analysis = analyse(answers, method="lora", reference="lora")
    analysis = analysis.__class__(**{**vars(analysis), "answers": many})
    text = render(_confusions(analysis))
    assert "Most frequent confusions" in text
    assert "label 19" not in text


def test_hidden_characters_and_markup_of_texts_have_no_effect():
    answers = answers_of(7, skill=1.0)
    answers.examples["text"] = "a\u202eb | `c`\x1b[2J"
    text = text_of(analyse(answers, method="lora", reference="lora"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "‹U+202E›" in text


def test_the_json_is_whole_and_finite():
    analysis = analysis_of(7, skill=1.0)
    values = json.loads(json.dumps(analysis_as_json(analysis), allow_nan=False))
    assert len(values["examples"]) == 120
    assert np.array(values["confusion"]["lora"]).sum() == pytest.approx(120)
    assert values["changes"][0]["fixed"] == analysis.changes[0].fixed.tolist()
    assert [each["row"] for each in values["never_right"]] == [each.row for each in analysis.never_right]
    assert values["confidence"]["lora"]["error"]["value"] == analysis.confidence["lora"].error.value
