"""Ratings by a judge model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.judge import judge_replies, rating_of
from tests.stress.asking.support import INSPECTS, own_machine  # noqa: F401 - a fixture

inspect_model = pytest.importorskip("inspect_ai.model")
pytestmark = [pytest.mark.filterwarnings(warning) for warning in INSPECTS]


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("4", 4),
        ("**4**", 4),
        ("Rating: 4/5", 4),
        ("I rate it 2 out of 5.", 2),
        ("3.", 3),
        ("", None),
        ("fluent", None),
        ("6", None),
        ("10", None),
        ("4.5", None),
        ("between 3 and 4", None),
        ("5/5", 5),
        ("5 of 5", 5),
        ("44", None),
    ],
)
def test_a_rating_is_a_whole_number_from_one_to_five(reply: str, rating: int | None) -> None:
    assert rating_of(reply) == rating


def rows(replies: list[str], model: str = "mockllm/tested") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item": [f"item-{place}" for place in range(len(replies))],
            "model": model,
            "prompt": "Bharat ki rajdhani kya hai?",
            "reply": replies,
            "fluency": 3.0,
        },
        index=[7 + 3 * place for place in range(len(replies))],
    )


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Install a judge that rates a reply by its number of words; return the list of prompts that it gets."""
    seen: list[str] = []

    def answer(input: list[inspect_model.ChatMessage], *rest: object) -> inspect_model.ModelOutput:
        text = input[-1].text
        seen.append(text)
        reply = text.split("<reply>\n")[1].split("\n</reply>")[0]
        output = inspect_model.ModelOutput.from_content("mockllm/judge", str(len(reply.split())))
        output.usage = inspect_model.ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return output

    def opened(settings: object) -> inspect_model.Model:
        return inspect_model.get_model("mockllm/judge", custom_outputs=answer, memoize=False)

    monkeypatch.setattr("lowland.stress.asking.judge.open_model", opened)
    return seen


def test_each_reply_gets_its_own_rating_and_the_judge_sees_neither_answer_nor_fluency(
    judge: list[str], tmp_path: Path
) -> None:
    rated = rows(["ek do teen", "ek", "ek do teen char panch", "ek do teen char panch chhah"])
    judged = judge_replies(rated, "mockllm/judge", beside=tmp_path / "rated.csv")
    assert judged["judge"].tolist()[:3] == [3.0, 1.0, 5.0]
    assert judged["judge"].isna().tolist() == [False, False, False, True]  # 6 is not a rating
    assert judged.index.equals(rated.index)
    assert len(judge) == 4
    assert all("rajdhani" in prompt and "3.0" not in prompt for prompt in judge)


def test_replies_that_were_rated_before_are_not_sent_again(judge: list[str], tmp_path: Path) -> None:
    rated = rows(["ek do", "ek"])
    first = judge_replies(rated, "mockllm/judge", beside=tmp_path / "rated.csv")
    second = judge_replies(rated, "mockllm/judge", beside=tmp_path / "rated.csv")
    assert len(judge) == 2
    assert first.equals(second)


def test_a_judge_that_cannot_be_opened_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="nobody"):
        judge_replies(rows(["ek"]), "nobody/judge", beside=tmp_path / "rated.csv")
    assert list(tmp_path.glob(".rated*")) == []


def test_a_model_does_not_judge_itself(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="is the model under test; name another one"):
        judge_replies(rows(["ek"]), "mockllm/tested", beside=tmp_path / "rated.csv")


def test_a_judge_that_rates_nothing_is_a_mistake(judge: list[str], tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="rated no reply"):
        judge_replies(
            rows(["ek do teen char panch chhah saat"]), "mockllm/judge", beside=tmp_path / "rated.csv"
        )
