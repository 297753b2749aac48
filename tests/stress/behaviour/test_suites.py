"""Suites: what a file may hold, and the sentences for what it may not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lowland.ground.mistakes import Mistake
from lowland.stress.behaviour.cases import cases_of
from lowland.stress.behaviour.suites import FOLDER, read_suite
from lowland.tasks.table import load_data, task_fields
from tests.stress.behaviour.toy import SUITE, write_suite


def problems_of(folder: Path, text: str) -> tuple[str, ...]:
    path = write_suite(folder, text)
    with pytest.raises(Mistake) as caught:
        read_suite(str(path))
    assert all(problem.startswith(f"the suite {path}") for problem in caught.value.problems)
    return tuple(problem.removeprefix(f"the suite {path}: ") for problem in caught.value.problems)


def test_a_suite_is_read_with_its_tests_in_order(tmp_path: Path) -> None:
    suite = read_suite(str(write_suite(tmp_path)))
    assert [(test.name, test.kind) for test in suite.tests] == [
        ("verbs", "minimum functionality"),
        ("names", "invariance"),
        ("added", "direction"),
    ]
    assert suite.slots["who"] == (("the firm",), ("its unit",), ("a bank",))
    assert [test.labels for test in suite.tests] == [("good", "bad"), (), ("good",)]
    assert suite.tests[2].tolerance == 0.1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: invariance", "kind: invarience", "test 'names': unknown kind 'invarience'; did you mean 'invariance'?"),
        ("    kind: invariance\n", "", "test 'names': kind is missing; give one of minimum functionality, invariance"),
        ('["{who} gains", "{who} fails"]', "[]", "test 'names': templates is []; it must not be empty"),
        ('{good: ["{who} gains", "{who} wins"], bad', "{good: [], bad", "test 'verbs': templates holds [] for good"),
        ('"{who} falls"', '"{whom} falls"', "test 'verbs': unknown slot 'whom'; did you mean 'who'?"),
        ('"{who} falls"', '"{who falls"', "test 'verbs': the template '{who falls' has a brace without a slot"),
        ('"{who} wins"', '"{who} gains"', "test 'verbs': the template '{who} gains' is given more than once"),
        ("exchange: who", "exchange: whom", "test 'names': unknown slot 'whom'"),
        ("exchange: who", "rewrite: who", "needs a value that is a list of two forms or more of the slot 'who'"),
        ("exchange: who", "exchange: who, corrupt: typos", "test 'names': change: it names exchange and corrupt"),
        ("exchange: who", "level: light", "test 'names': change: it names no way to change a text; give one of"),
        ("exchange: who", "corrupt: typoes", "unknown corruption 'typoes'; did you mean 'typos'?"),
        ('"{who} fails"', '"it fails"', "the slot 'who', which is to change, is not in the template 'it fails'"),
        ("must: not fall", "must: fall", "test 'added': unknown must 'fall'; did you mean 'not fall'?"),
        ("must: not fall", "must: not fall\n    tolerance: 2", "test 'added': tolerance is 2; it must be in [0, 1]"),
        ("must: not fall", "must: not fall\n    tolerence: 0.2", "unknown field 'tolerence'; did you mean 'tolerance'"),
        ("name: added", "name: names", "2 tests are called 'names'; give each its own name"),
        ("[the firm, its unit, a bank]", "[the firm, 7]", "the slot 'who' holds 7; each value must be text"),
        ("[the firm, its unit, a bank]", "[]", "the slot 'who' holds []; it must be a list of texts"),
        ("name: toy", "name: to/y", "name is 'to/y'; it must consist of letters, digits, dashes and underscores"),
        ("cases: 12", "cases: 0", "cases is 0; it must be at least 1"),
        ("  - name: verbs", "  - verbs\n  - name: verbs", "test 1: it is 'verbs'; it must be a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_suite_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SUITE
    (problem,) = set(problems_of(tmp_path, SUITE.replace(old, new, 1)))
    assert message in problem


def test_all_mistakes_of_a_suite_are_reported_at_once(tmp_path: Path) -> None:
    text = SUITE.replace("kind: invariance", "kind: same").replace("{who} wins", "{whom} wins")
    problems = problems_of(tmp_path, text.replace("cases: 12", "cases: few"))
    assert [problem.partition(":")[0] for problem in problems] == [
        "cases is 'few'; it must be a whole number",
        "test 'verbs'",
        "test 'names'",
    ]


@pytest.mark.parametrize("text", ["tests: []\nname: toy", "[]", "name: toy"])
def test_a_suite_without_tests_is_refused(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert "tests" in problem


def test_an_unknown_suite_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        Mistake, match=r"unknown suite 'finanse'; did you mean 'finance'.* or a file that ends in .yaml"
    ):
        read_suite("finanse")
    with pytest.raises(Mistake, match=r"the suite .*none.yaml does not exist"):
        read_suite(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_suite_of_lowland_is_called_as_its_file(path: Path) -> None:
    assert read_suite(path.stem).name == path.stem


def test_the_suite_in_the_docs_can_be_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "stress.md").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(page.split("`own.yaml`:\n\n```yaml\n")[1].split("```")[0])
    cases = cases_of(read_suite(str(tmp_path / "own.yaml")))
    assert dict(cases["kind"].value_counts()) == {
        "minimum functionality": 9,
        "invariance": 24,
        "direction": 12,
    }


def test_the_finance_suite_has_48_cases_of_each_of_13_tests() -> None:
    suite = read_suite("finance")
    cases = cases_of(suite)
    assert len(suite.tests) == 13
    assert set(cases["test"].value_counts()) == {48}
    assert (cases.groupby("test")["group"].nunique() >= 8).all()  # the units of its intervals
    assert not cases.duplicated(["original", "text"]).any()
    assert not any(set("{}") & set(text) for text in [*cases["text"], *cases["original"]])
    labels = Counter(cases.loc[cases["kind"] == "minimum functionality", "label"])
    assert set(labels) == {"negative", "neutral", "positive"}
    assert labels["negative"] == labels["positive"]
    assert min(labels.values()) / sum(labels.values()) > 0.25


def test_the_finance_suite_shares_no_text_and_no_name_with_the_demo() -> None:
    suite, data = read_suite("finance"), load_data(task_fields("financial-demo"))
    known = [text for split in data.splits.values() for text in split["text"]]
    cases = cases_of(suite)
    assert not {*cases["text"], *cases["original"]} & set(known)
    everything = " ".join(known)
    names = [form for slot in ("company", "person") for forms in suite.slots[slot] for form in forms]
    assert [name for name in names if name in everything] == []


def test_typing_errors_of_the_finance_suite_spare_names_and_numbers() -> None:
    suite = read_suite("finance")
    cases = cases_of(suite)
    typos = cases[cases["test"] == "typos"]
    names = [form for forms in suite.slots["company"] for form in forms]
    for original, text in zip(typos["original"], typos["text"], strict=True):
        assert all(name in text for name in names if name in original)
        assert [c for c in original if c.isdigit()] == [c for c in text if c.isdigit()]
    assert typos["edits"].between(1, 3).all()
