"""Corruptions: the log is exact, the rate is met, places do not depend on it, and no cluster is split."""

from __future__ import annotations

import collections
import inspect

import numpy as np
import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lowland.ground.mistakes import Mistake
from lowland.text import candidates, corruptions, glyphs
from lowland.text.corruptions import CORRUPTIONS, Corrupted, Edit, apply, corrupt, undo
from lowland.text.levels import LADDER, LEVELS, rate_of

CORPUS = (
    "What is the capital of France?",
    "Which planet is known as the Red Planet?",
    "How many legs does a spider have?",
    "In what year did the first man walk on the Moon?",
    "Who wrote the play 'Romeo and Juliet', and for which company of players?",
    "The bank's profit rose to EUR 13.1 mn from EUR 8.7 mn in the corresponding period of 2007.",
    "What is the chemical symbol for gold; what for silver?",
    "Which is the longest river that flows through Germany, Austria and Hungary?",
)
HINDI = "भारत की राजधानी क्या है? क्षत्रिय और ज्ञान में र्‍य"
# clusters that can be split or joined: conjuncts, joiners, flags, families, jamo, marks, line ends
PIECES = st.sampled_from(
    ["a", "b", "rn", "ll", "The", "dog", "8", "३", "क्ष", "क्", "त्रि", "ज्ञ", "र्\u200dय", "é", "e\u0301",
     "\u0301", "\u200d", "👩\u200d👧", "👩", "🇫🇷", "🇫", "👍🏽", "1\ufe0f\u20e3", "ᄀ", "ᅡ", "ᆨ", "한", "\u0600",
     "ß", "İ", "ﬁ", "а", "Ω", "Ａ",
     " ", "  ", "\n", "\r", "\r\n", "\t", "\u00a0", "?", "!", ",", "'", "-", "।", "\u200b", "\u0336"]
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(PIECES, max_size=25).map("".join),
    st.text(max_size=30),
    st.text("abcdemnrstACILMO 015.?\n", max_size=40),
    st.sampled_from([*CORPUS, HINDI]),
)
KINDS = st.sampled_from(list(CORRUPTIONS))
RATES = st.one_of(st.sampled_from([*LEVELS.values(), *LADDER, 1.0]), st.floats(0.001, 1))
SEEDS = st.integers(-5, 2**40)
FAST = settings(deadline=None, max_examples=100)


def clusters(text: str) -> list[str]:
    return regex.findall(r"\X", text)


def borders(text: str) -> set[int]:
    return {0, *np.cumsum([len(cluster) for cluster in clusters(text)]).tolist()}


def whole_borders(corrupted: Corrupted) -> set[int]:
    """Return where the edits begin and end in the new text."""
    places, shift = set(), 0
    for edit in corrupted.edits:
        places.add(edit.start + shift)
        shift += len(edit.after) - len(edit.before)
        places.add(edit.end + shift)
    return places


def room(text: str, kind: str) -> set[Edit]:
    """Return the edits that are possible in a text: those of 20 draws at the highest rate."""
    return {edit for seed in range(20) for edit in corrupt(text, kind, 1.0, seed=seed).edits}


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_the_log_is_exact(text, kind, rate, seed):
    corrupted = corrupt(text, kind, rate, seed=seed)
    assert apply(text, corrupted.edits) == corrupted.text
    at, rebuilt = 0, ""
    for edit in corrupted.edits:  # in order and without overlap, checked without `apply`
        assert at <= edit.start < edit.end <= len(text)
        assert edit.before == text[edit.start : edit.end] != edit.after
        rebuilt += text[at : edit.start] + edit.after
        at = edit.end
    assert rebuilt + text[at:] == corrupted.text


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_the_same_arguments_give_the_same_text(text, kind, rate, seed):
    assert corrupt(text, kind, rate, seed=seed) == corrupt(text, kind, rate, seed=seed)


@FAST
@given(TEXTS, KINDS, RATES, RATES, SEEDS)
def test_the_edits_at_a_smaller_rate_are_among_those_at_a_larger_rate(text, kind, rate, other, seed):
    light, heavy = (corrupt(text, kind, level, seed=seed) for level in sorted((rate, other)))
    assert set(light.edits) <= set(heavy.edits)


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_edits_are_rate_times_units_to_the_nearest_whole_or_all_that_fit(text, kind, rate, seed):
    corrupted = corrupt(text, kind, rate, seed=seed)
    expected = max(1, int(rate * corrupted.units + 0.5))
    assert len(corrupted.edits) <= expected
    if len(corrupted.edits) < expected:  # no further edit fits
        assert corrupted.edits == corrupt(text, kind, 1.0, seed=seed).edits
    shape = "".join(" " if cluster.isspace() else "x" for cluster in clusters(text))
    assert corrupted.units == (2 * len(shape.split()) if kind == "emoji" else shape.count("x"))
    assert corrupted.rate == (len(corrupted.edits) / corrupted.units if corrupted.units else 0)


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_a_text_with_room_for_damage_is_damaged(text, kind, rate, seed):
    corrupted = corrupt(text, kind, rate, seed=seed)
    assert (corrupted.text != text) == bool(corrupted.edits)
    assert bool(corrupted.edits) == bool(corrupt(text, kind, 1.0, seed=0).edits)


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_no_cluster_is_split_or_joined(text, kind, rate, seed):
    corrupted = corrupt(text, kind, rate, seed=seed)
    assert {edit.start for edit in corrupted.edits} | {edit.end for edit in corrupted.edits} <= borders(text)
    assert whole_borders(corrupted) <= borders(corrupted.text)


@FAST
@given(TEXTS, KINDS, RATES, SEEDS)
def test_line_breaks_stay(text, kind, rate, seed):
    corrupted = corrupt(text, kind, rate, seed=seed)
    assert regex.findall(r"\r\n|\v", corrupted.text) == regex.findall(r"\r\n|\v", text)
    assert not any(regex.search(r"\v", edit.before + edit.after) for edit in corrupted.edits)


@FAST
@given(st.data(), TEXTS, KINDS, RATES, SEEDS)
def test_protected_spans_and_their_neighbours_stay(data, text, kind, rate, seed):
    assume(text)
    start = data.draw(st.integers(0, len(text) - 1))
    protected = text[start : data.draw(st.integers(start + 1, len(text)))]
    corrupted = corrupt(text, kind, rate, seed=seed, protect=[protected, ""])
    places = [at for at in range(len(text)) if text.startswith(protected, at)]
    shift = 0
    moved = dict.fromkeys(places, 0)
    for edit in corrupted.edits:
        assert not any(at <= edit.end and edit.start <= at + len(protected) for at in places)
        shift += len(edit.after) - len(edit.before)
        moved.update((at, shift) for at in places if at >= edit.end)
    for at in places:  # the span and both its neighbours, where they now stand
        new = at + moved[at]
        around = text[max(at - 1, 0) : at + len(protected) + 1]
        assert corrupted.text.startswith(around, new - min(at, 1))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_protection_removes_edits_and_units_but_does_not_change_the_order(kind):
    text = "France borders Spain, and in France many dogs run on one beach; france is small print."
    free, protected = (corrupt(text, kind, 1.0, seed=4, protect=names) for names in ((), ("France", "Spain")))
    assert protected.units == free.units - (2 * 3 if kind == "emoji" else 6 + 5 + 6)
    assert protected.text.count("France") >= 2
    spans = [(0, 6), (15, 20), (29, 35)]
    assert all(edit.end < start or end < edit.start for edit in protected.edits for start, end in spans)
    small = {
        edit for seed in range(30) for edit in corrupt(text, kind, 1.0, seed=seed, protect=["France"]).edits
    }
    assert any(
        text.index("france") <= edit.start < text.index(" is") for edit in small
    )  # protection depends on case
    first = corrupt(text, kind, 0.001, seed=4).edits
    if all(edit.end < start or end < edit.start for edit in first for start, end in spans):
        assert corrupt(text, kind, 0.001, seed=4, protect=["France", "Spain"]).edits == first


def test_overlapping_occurrences_are_both_protected():
    edits = {
        edit
        for seed in range(20)
        for edit in corrupt("ababa xyz", "typos", 1.0, seed=seed, protect=["aba"]).edits
    }
    assert min(edit.start for edit in edits) == 6


@pytest.mark.parametrize("rate", LADDER)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_rate_is_kept(kind, rate):
    results = [corrupt(text, kind, rate, seed=seed) for text in CORPUS for seed in range(3)]
    assert all(len(corrupted.edits) == max(1, int(rate * corrupted.units + 0.5)) for corrupted in results)
    long = corrupt(" ".join(CORPUS), kind, rate, seed=0)
    assert long.rate == pytest.approx(rate, abs=0.5 / long.units)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_seeds_and_texts_damage_different_places(kind):
    text = " ".join(CORPUS)
    places = {
        tuple(edit.start for edit in corrupt(text, kind, "light", seed=seed).edits) for seed in range(20)
    }
    assert len(places) == 20
    shared = [corrupt(text + end, kind, "light", seed=0).edits for end in (" a", " b", " c")]
    assert len(set(shared)) == 3


def test_the_random_numbers_come_from_the_named_stream():
    """In a text with one candidate per letter, the letters with the smallest random numbers are damaged."""
    text = "abcdefghij"
    draws = corruptions.stream(5, "corruption", "casing", text).random((2, 10))[0]
    corrupted = corrupt(text, "casing", 0.3, seed=5)
    assert {edit.start for edit in corrupted.edits} == set(np.argsort(draws)[:3].tolist())


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_actions_have_equal_chances(kind):
    text = f"{CORPUS[4]} How many dogs, legs or spiders fit?"
    first = [corrupt(text, kind, 0.0001, seed=seed).edits[0] for seed in range(300)]
    seen = collections.Counter(edit.kind if kind == "mixed" else edit.action for edit in first)
    assert {edit.kind for edit in first} == (set(CORRUPTIONS) - {"mixed"} if kind == "mixed" else {kind})
    expected = 300 / len(seen)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in seen.values()), seen


EXPECTED_ACTIONS = {
    "typos": {"neighbour", "swap", "drop", "double"},
    "spacing": {"glue", "widen", "split", "add mark", "mark"},
    "confusables": {"look-alike", "full width", "zero width", "combining"},
    "emoji": {"insert", "replace"},
    "casing": {"flip"},
    "leetspeak": {"letter"},
    "ocr": {"letter", "pair"},
}


@pytest.mark.parametrize(("kind", "actions"), EXPECTED_ACTIONS.items())
def test_each_kind_has_its_actions(kind, actions):
    edits = room(CORPUS[4], kind) | room("How many dogs can a barn hold, at best?", kind)
    assert {edit.action for edit in edits} == actions
    for edit in edits:
        assert is_legitimate(edit), edit


def is_legitimate(edit: Edit) -> bool:
    """Whether an edit does what its action says, judged only by its texts."""
    before, after = edit.before, edit.after
    rules = {
        "neighbour": lambda: after in glyphs.NEIGHBOURS[before],
        "swap": lambda: after == before[::-1] and before.isalpha(),
        "drop": lambda: after == "" and before.isalpha(),
        "double": lambda: after == before * 2,
        "glue": lambda: (before, after) == (" ", ""),
        "widen": lambda: (before, after) == (" ", "  "),
        "split": lambda: after == before + " " and before.isalpha(),
        "add mark": lambda: after[:-1].startswith(before) and not after[-1].isalnum(),
        "mark": lambda: before in "?,'" and after in ("", before * 2, " " + before),
        "look-alike": lambda: glyphs.LATIN[after] == before,
        "full width": lambda: ord(after) - ord(before) == 0xFEE0,
        "zero width": lambda: after[0] == before and after[1] in glyphs.ZERO_WIDTH,
        "combining": lambda: after[0] == before and after[1] in glyphs.OVERLAYS,
        "insert": lambda: after.split(" ")[0] == before and after.split(" ")[1] in glyphs.EMOJI,
        "replace": lambda: (before, after) == ("dogs", "🐕"),
        "flip": lambda: after == before.swapcase(),
        "pair": lambda: after in glyphs.OCR[before] and len(before) == 2,
    }
    tables = {"leetspeak": glyphs.LEET, "ocr": glyphs.OCR}
    if edit.action == "letter":
        return after in tables[edit.kind][before.lower() if edit.kind == "leetspeak" else before]
    return rules[edit.action]()


def test_every_alternative_is_drawn():
    assert {
        edit.after for seed in range(150) for edit in corrupt("s", "leetspeak", 1.0, seed=seed).edits
    } == {"5", "$"}
    replacements = {edit.after for seed in range(300) for edit in corrupt("s", "typos", 1.0, seed=seed).edits}
    assert replacements == {*glyphs.NEIGHBOURS["s"], "ss"}


@pytest.mark.parametrize("seed", range(10))
def test_typos_leave_a_letter_of_every_word_and_spacing_leaves_every_letter(seed):
    text = " ".join(CORPUS)
    assert len(corrupt(text, "typos", 1.0, seed=seed).text.split()) == len(text.split())
    spaced = corrupt(text, "spacing", 1.0, seed=seed).text
    assert [sign for sign in spaced if sign.isalnum()] == [sign for sign in text if sign.isalnum()]
    assert corrupt(text, "casing", 1.0, seed=seed).text == text.swapcase()


@pytest.mark.parametrize(("kind", "text"), [("typos", "aa ll"), ("spacing", "a?? b!!"), ("spacing", "a , b")])
def test_two_edits_never_cancel_out(kind, text):
    assert all(corrupt(text, kind, 1.0, seed=seed).text != text for seed in range(200))


def test_punctuation_that_does_not_follow_a_letter_stays():
    assert {edit.before for edit in room("'?' -- ¿ ...", "spacing")} == {" "}


def test_casing_spares_letters_without_a_single_other_case():
    edits = room("ßİıŉa é e\u0301 Ω ǅ", "casing")
    assert {(edit.before, edit.after) for edit in edits} == {
        ("a", "A"),
        ("é", "É"),
        ("e\u0301", "E\u0301"),
        ("Ω", "ω"),
    }


def test_emoji_are_set_off_by_a_space_or_replace_a_word_within_its_punctuation():
    replacements = {edit.after for edit in room("(dog) cats!", "emoji")}
    assert {"🐕", "🐈"} < replacements
    assert {after[:2] for after in replacements} >= {") ", "! "}
    assert all(" " in after for after in replacements - {"🐕", "🐈"})
    for seed in range(10):
        corrupted = corrupt("(dog) cats!", "emoji", 1.0, seed=seed).text
        assert regex.match(r"\(🐕\) \X 🐈! \X$", corrupted), corrupted


@pytest.mark.parametrize(
    ("kind", "has_room"),
    [("casing", 0), ("leetspeak", 0), ("ocr", 0), ("typos", 1), ("spacing", 1),
     ("confusables", 1), ("emoji", 1), ("mixed", 1)],
)  # fmt: skip
def test_corruptions_of_latin_letters_leave_hindi_unchanged(kind, has_room):
    corrupted = corrupt(HINDI, kind, "heavy", seed=3)
    assert bool(corrupted.edits) == has_room == (corrupted.text != HINDI)
    assert corrupted.units == (
        2 * len(HINDI.split()) if kind == "emoji" else len(clusters(HINDI.replace(" ", "")))
    )
    whole = set(clusters(HINDI)) | set(" 😀🙂😂🤔😅🎉✨🔥👍🙏👀💯？,.;-\u200b\u2060\ufeff") | {"\u00ad"}
    assert {cluster.rstrip("\u00ad") or cluster for cluster in clusters(corrupted.text)} <= whole


def test_a_half_conjunct_is_never_joined_to_a_letter_that_completes_it():
    for seed in range(50):
        for kind in ("typos", "spacing"):
            assert "त् " in corrupt("यह पश्चात् कब", kind, 1.0, seed=seed).text


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("text", ["", " ", "\n", " \n\t "])
def test_a_text_without_units_has_no_edits(text, kind):
    assert corrupt(text, kind, "heavy", seed=0) == Corrupted(text, (), 0)


ROUND_TRIP = st.one_of(st.text(st.characters(codec="ascii"), max_size=60), st.sampled_from(CORPUS))


@FAST
@given(ROUND_TRIP, RATES, SEEDS)
def test_undo_restores_ascii(text, rate, seed):
    assert undo(corrupt(text, "confusables", rate, seed=seed).text) == text
    assert CORRUPTIONS["confusables"].invertible


def test_only_the_corruptions_that_undo_restores_are_marked_invertible():
    text = " ".join(CORPUS)
    for kind, row in CORRUPTIONS.items():
        back = all(undo(corrupt(text, kind, "heavy", seed=seed).text) == text for seed in range(5))
        assert back == row.invertible


@FAST
@given(TEXTS)
def test_undo_is_idempotent(text):
    assert undo(undo(text)) == undo(text)


@pytest.mark.parametrize(
    "text",
    ["", HINDI, "naïve café, São Paulo, Łódź, İstanbul", "e\u0301te\u0301 Tiê\u0301ng", "мир труд", "оса и мир",
     "Ελλάδα", "👩\u200d👧 🇫🇷 1\ufe0f\u20e3 👍🏽", "می\u200cخواهم", "10² ½ ™ …", "東京　한국", "२० दिन", "a ≠ b"],
)  # fmt: skip
def test_undo_leaves_clean_text_unchanged(text):
    assert undo(text) == text


@pytest.mark.parametrize(
    ("messy", "plain"),
    [("с\u0430р\u0456tal", "capital"), ("Ｆｒａｎｃｅ？", "France?"), ("h\u0336i\u0336", "hi"),
     ("s\u200bo\u00ad\ufeff", "so"), ("оса", "oca"), ("мир: рaris", "мир: paris"), ("мир: оса", "мир: оса"),
     ("Іdaһo", "Idaho"), ("\u04c0ong", "long"), ("Ｆ\u0430r", "Far")],
)  # fmt: skip
def test_undo_of_mixed_texts(messy, plain):
    assert undo(messy) == plain


@pytest.mark.parametrize(
    ("level", "rate"), [("light", 0.05), ("heavy", 0.2), ("0.1", 0.1), (0.4, 0.4), (1, 1.0)]
)
def test_levels(level, rate):
    assert rate_of(level) == rate
    assert corrupt(CORPUS[5], "typos", level, seed=0) == corrupt(CORPUS[5], "typos", rate, seed=0)


@pytest.mark.parametrize("level", [0, -0.1, 1.01, "0", "nan", float("inf"), True, False, "2"])
def test_rates_out_of_range_are_mistakes(level):
    with pytest.raises(Mistake, match=f"level is {level}; it must be light or heavy, or a rate above 0"):
        rate_of(level)


@pytest.mark.parametrize("level", ["hevy", "", None, [0.1]])
def test_unknown_levels_are_mistakes(level):
    with pytest.raises(Mistake, match="unknown level"):
        rate_of(level)


def test_all_mistakes_are_reported_at_once():
    with pytest.raises(Mistake) as caught:
        corrupt("x", "typo", "hevy", seed=0, protect="France")
    corruption, level, protect = caught.value.problems
    assert corruption.startswith("unknown corruption 'typo'; did you mean 'typos'?")
    assert level.startswith("unknown level 'hevy'; did you mean 'heavy'?")
    assert protect == "protect is the text 'France'; give a list of texts, as ['France']"


@pytest.mark.parametrize(
    "edits",
    [
        (Edit("x", 0, 1, "b", "c"),),
        (Edit("x", 0, 2, "ab", ""), Edit("x", 1, 2, "b", "c")),
        (Edit("x", 3, 4, "d", ""),),
    ],
)
def test_edits_of_another_text_are_a_mistake(edits):
    with pytest.raises(Mistake, match="give the text that it was logged for"):
        apply("abc", edits)


def test_the_table_is_complete_and_levels_are_steps_of_the_ladder():
    assert list(CORRUPTIONS) == [
        "typos",
        "spacing",
        "confusables",
        "emoji",
        "casing",
        "leetspeak",
        "ocr",
        "mixed",
    ]
    assert all(row.summary for row in CORRUPTIONS.values())
    assert sorted(set(LADDER)) == list(LADDER)
    assert len(LADDER) == 5
    assert set(LEVELS.values()) < set(LADDER)
    every = {name for name, _ in inspect.getmembers(candidates, inspect.isgeneratorfunction)}
    assert every == set(CORRUPTIONS)
