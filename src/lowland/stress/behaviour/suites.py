"""Suites of behavioural tests: the models of a suite's YAML file, and their checks.

The idea of such suites, and the three kinds of tests, are those of CheckList.

Source: M. T. Ribeiro, T. Wu, C. Guestrin and S. Singh, "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList", ACL 2020, section 2.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from lowland.ground.asked import Asked, NotEmpty, Number, Several, Text, Whole
from lowland.ground.mistakes import Mistake, gathering, one_of
from lowland.ground.yaml_files import read_yaml
from lowland.stress.behaviour.changes import Change
from lowland.stress.behaviour.templates import Slots, SlotValues, problems_with_template

FOLDER = Path(__file__).with_name("suites")
ENDINGS = (".yaml", ".yml")


def _simple_name(name: str) -> str:
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError("consist of letters, digits, dashes and underscores")
    return name


class BehaviourTest(Asked):
    """Fields that tests of every kind have."""

    name: Text
    """what the test is called in reports"""
    capability: Text
    """what the model must be able to do, such as negation"""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the test expects of the runs."""
        return ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The templates."""
        return ()

    def problems(self, slots: Slots) -> list[str]:
        """Return a sentence for everything that is wrong with the templates."""
        problems = [problem for text in self.texts for problem in problems_with_template(text, slots)]
        twice = [text for text, count in Counter(self.texts).items() if count > 1]
        return problems + [
            f"the template '{text}' is given more than once; remove the others" for text in twice
        ]


class FunctionalityTest(BehaviourTest):
    """Minimum functionality: the model must predict the label of each text."""

    kind: Literal["minimum functionality"]
    """kind of test"""
    templates: Annotated[Mapping[Text, Annotated[Several[Text], NotEmpty]], NotEmpty]
    """templates by the label of their texts, such as {positive: ["{company} made a profit."]}"""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the templates."""
        return tuple(self.templates)

    @property
    def texts(self) -> tuple[str, ...]:
        """The templates of all labels."""
        return tuple(text for texts in self.templates.values() for text in texts)


class ChangeTest(BehaviourTest):
    """Fields of tests that compare a changed text with its original."""

    templates: Annotated[Several[Text], NotEmpty]
    """templates of the original texts"""
    change: Change
    """how the changed text is made from the original"""

    @property
    def texts(self) -> tuple[str, ...]:
        """The templates."""
        return self.templates

    def problems(self, slots: Slots) -> list[str]:
        """Return a sentence for everything that is wrong with the templates or the change."""
        return [*super().problems(slots), *self.change.problems(self.templates, slots)]


class InvarianceTest(ChangeTest):
    """Invariance: the change must not alter the predicted label."""

    kind: Literal["invariance"]
    """kind of test"""


class DirectionTest(ChangeTest):
    """Directional expectation: the change must not lower (or raise) the probability of a label."""

    kind: Literal["direction"]
    """kind of test"""
    label: Text
    """label whose probability is compared"""
    must: Literal["not fall", "not rise"]
    """what the probability must not do when the text is changed"""
    tolerance: Annotated[Number, Field(ge=0, le=1)] = 0.1
    """largest difference of the probabilities that still passes"""

    @property
    def labels(self) -> tuple[str, ...]:
        """The label whose probability is compared."""
        return (self.label,)


AnyTest = FunctionalityTest | InvarianceTest | DirectionTest
KINDS: Mapping[str, type[FunctionalityTest] | type[InvarianceTest] | type[DirectionTest]] = {
    "minimum functionality": FunctionalityTest,
    "invariance": InvarianceTest,
    "direction": DirectionTest,
}
"""Kind of test -> its model."""


class Suite(Asked):
    """Behavioural tests of classifiers of texts."""

    name: Annotated[Text, AfterValidator(_simple_name)]
    """name of the suite, for reports and the names of folders"""
    about: Text = "a suite of behavioural tests"
    """what the suite tests, in a few words"""
    cases: Annotated[Whole, Field(ge=1)] = 50
    """number of cases of each test, at most"""
    slots: SlotValues = Field(default_factory=dict)
    """values of each slot: texts, or lists of texts that are forms of one value"""
    tests: Annotated[tuple[AnyTest, ...], NotEmpty]
    """the tests"""

    @field_validator("tests", mode="before")
    @classmethod
    def _read_tests(cls, value: Any, info: ValidationInfo) -> Any:
        """Read each test by the model of its kind; the sentences of all tests are raised at once."""
        if not isinstance(value, list | tuple):
            return value
        tests: list[AnyTest] = []
        problems: list[str] = []
        for number, each in enumerate(value, start=1):
            own: list[str] = []
            with gathering(own):
                test = _read_test(each)
                tests.append(test)
                own += test.problems(info.data["slots"]) if "slots" in info.data else []
            problems += [f"{_title(each, number)}: {problem}" for problem in own]
        names = Counter(test.name for test in tests)
        problems += [
            f"{count} tests are called '{name}'; give each its own name"
            for name, count in names.items()
            if count > 1
        ]
        if problems:
            raise Mistake(*problems)
        return tuple(tests)


def _read_test(value: Any) -> AnyTest:
    """Return a test from the mapping that stands for it in the file."""
    if isinstance(value, BehaviourTest):
        return value  # type: ignore[return-value]
    if not isinstance(value, Mapping):
        raise Mistake(f"it is {value!r:.60}; it must be a mapping with name, capability, kind and templates")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Mistake(
            one_of("kind", kind, KINDS)
            if "kind" in value
            else f"kind is missing; give one of {', '.join(KINDS)}"
        )
    return KINDS[kind](**{str(name): item for name, item in value.items()})


def _title(value: Any, number: int) -> str:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    return f"test '{name}'" if isinstance(name, str) else f"test {number}"


def suite_path(name: str) -> Path:
    """Return the file of a suite of lowland, or of a user's own.

    Raises:
        Mistake: if lowland has no suite of that name, and it is no name of a YAML file.
    """
    if name.endswith(ENDINGS):
        return Path(name)
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in names:
        raise Mistake(f"{one_of('suite', name, names)}, or a file that ends in .yaml")
    return FOLDER / f"{name}.yaml"


def source_of(name: str) -> str:
    """Return where a suite comes from, for records."""
    return Path(name).name if name.endswith(ENDINGS) else f"{name}, packaged with lowland"


def read_suite(name: str) -> Suite:
    """Read a suite of lowland, or the file of a user's own.

    Raises:
        Mistake: with a sentence for everything that is wrong with the file.
    """
    path = suite_path(name)
    content = read_yaml(path, "suite")
    if not isinstance(content, dict):
        raise Mistake(f"the suite {path} is no mapping; give it the keys name, slots and tests")
    try:
        return Suite(**{str(key): value for key, value in content.items()})
    except Mistake as mistake:
        raise Mistake(*(f"the suite {path}: {problem}" for problem in mistake.problems)) from None
