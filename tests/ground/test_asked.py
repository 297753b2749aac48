"""The base of requests: every mistake at once, in sentences, and values that cannot be changed."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from lowland.ground.asked import (
    Asked,
    FixedMapping,
    NotEmpty,
    Number,
    Several,
    Text,
    Truth,
    Whole,
    plain,
)
from lowland.ground.mistakes import Mistake


class Part(Asked):
    """A model within another."""

    size: Annotated[Whole, Field(ge=1)] = 1
    """how large it is"""
    share: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """a share"""

    @model_validator(mode="after")
    def _check_size_and_share(self) -> Self:
        if self.size * self.share > 100:
            raise Mistake(f"size {self.size} and share {self.share} are too much together; make one smaller")
        return self


class Order(Asked):
    """A model with a field of each kind."""

    name: Text
    """what it is called"""
    count: Annotated[Whole, Field(ge=1)] = 3
    """how many"""
    rate: Annotated[Number, Field(ge=0)] = 0.1
    """how fast"""
    share: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    """a share"""
    fast: Truth = False
    """whether it is fast"""
    words: Annotated[Several[Text], NotEmpty] = ("a",)
    """some words"""
    ranks: Annotated[Mapping[Text, Annotated[Whole, Field(ge=1)]], AfterValidator(FixedMapping)] = (
        FixedMapping({})
    )
    """numbers by name"""
    kind: Literal["small", "large"] = "small"
    """which kind"""
    note: Text | None = None
    """a note"""
    part: Part = Part()
    """a part"""
    spare: Part | None = None
    """another part"""


def problems(**values: Any) -> tuple[str, ...]:
    with pytest.raises(Mistake) as caught:
        Order(**{"name": "x", **values})
    return caught.value.problems


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "count is 0; it must be at least 1"),
        ({"count": "0"}, "count is 0; it must be at least 1"),
        ({"count": 1.5}, "count is 1.5; it must be a whole number"),
        ({"count": "1.5"}, "count is '1.5'; it must be a whole number"),
        ({"count": "many"}, "count is 'many'; it must be a whole number"),
        ({"count": True}, "count is True; it must be a whole number"),
        ({"count": None}, "count is None; it must be a whole number"),
        ({"rate": -1}, "rate is -1; it must be at least 0"),
        ({"rate": True}, "rate is True; it must be a number"),
        ({"rate": math.nan}, "rate is nan; it must be finite"),
        ({"rate": "inf"}, "rate is 'inf'; it must be finite"),
        ({"share": 1}, "share is 1; it must be in [0, 1)"),
        ({"fast": 1}, "fast is 1; it must be true or false"),
        ({"name": " "}, "name is ' '; it must be text that is not empty"),
        ({"name": 3}, "name is 3; it must be text that is not empty"),
        ({"name": "a\udcff"}, "name is 'a\\udcff'; it must be text in UTF-8"),
        ({"words": []}, "words is []; it must not be empty"),
        ({"words": [""]}, "words holds ''; each value must be text that is not empty"),
        ({"words": ["a", ""]}, "words holds ''; each value must be text that is not empty"),
        ({"ranks": 3}, "ranks is 3; it must be a mapping"),
        ({"ranks": {"q": 0}}, "ranks holds 0 for q; it must be at least 1"),
        ({"ranks": {"": 1}}, "ranks names ''; each name in it must be text that is not empty"),
        ({"kind": "smal"}, "unknown kind 'smal'; did you mean 'small'? Allowed: small, large"),
        ({"note": 3}, "note is 3; it must be text that is not empty"),
        ({"part": {"size": 0}}, "part: size is 0; it must be at least 1"),
        ({"part": {"share": 1}}, "part: share is 1; it must be in (0, 1)"),
        ({"spare": {"sise": 1}}, "spare: unknown field 'sise'; did you mean 'size'? Allowed: size, share"),
        (
            {"spare": {"size": 1000}},
            "spare: size 1000 and share 0.5 are too much together; make one smaller",
        ),
    ],
)
def test_each_kind_of_mistake_is_one_sentence(values: dict, sentence: str) -> None:
    assert problems(**values) == (sentence,)


def test_an_unknown_field_is_reported_with_the_nearest_match() -> None:
    (message,) = problems(coutn=3)
    assert message.startswith("unknown field 'coutn'; did you mean 'count'? Allowed: name, count, ")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Mistake) as caught:
        Order()
    assert caught.value.problems == ("name is missing: what it is called",)


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_fields() -> None:
    messages = problems(spare={"size": 0, "share": 2}, kind="x", words=["", 3], share=7, count=0, other=1)
    assert [sentence.partition(" ")[0] for sentence in messages] == [
        "count", "share", "words", "words", "unknown", "spare:", "spare:", "unknown",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "name", "meant"),
    [
        ({"count": "1e3"}, "count", 1000),
        ({"count": 3.0}, "count", 3),
        ({"count": str(2**53 + 1)}, "count", 2**53 + 1),
        ({"rate": "5e-4"}, "rate", 5e-4),
        ({"fast": "True"}, "fast", True),
        ({"words": "b"}, "words", ("b",)),
        ({"words": ["b", "c"]}, "words", ("b", "c")),
        ({"ranks": {"q": "2"}}, "ranks", {"q": 2}),
        ({"part": {"size": "2"}}, "part", Part(size=2)),
        ({"part": Part(size=2)}, "part", Part(size=2)),
    ],
)
def test_a_value_may_be_written_in_several_ways(values: dict, name: str, meant: object) -> None:
    value = getattr(Order(name="x", **values), name)
    assert value == meant
    assert isinstance(meant, dict) or type(value) is type(meant)


def test_the_help_text_is_the_docstring_under_the_field() -> None:
    assert Order.model_fields["count"].description == "how many"


def test_a_changed_copy_is_checked_like_any_other() -> None:
    order = Order(name="x", count=2, ranks={"q": 4}, part={"size": 3})
    changed = order.replace(count="5")
    assert (changed.count, order.count) == (5, 2)
    assert changed == Order(name="x", count=5, ranks={"q": 4}, part={"size": 3})
    assert order.replace() == order
    with pytest.raises(Mistake, match=r"^count is 0; it must be at least 1$"):
        order.replace(count=0)
    with pytest.raises(Mistake, match="unknown field 'cuont'"):
        order.replace(cuont=1)


def test_nothing_can_be_changed() -> None:
    mapping = {"q": 4}
    order = Order(name="x", ranks=mapping)
    mapping["q"] = 5
    assert order.ranks == {"q": 4}
    with pytest.raises(ValidationError, match="frozen"):
        order.count = 4
    for ranks in (order.ranks, Order(name="x").ranks):
        with pytest.raises(TypeError):
            ranks["q"] = 8  # type: ignore[index]
    assert Order(name="x").ranks == {}


def test_it_can_be_pickled() -> None:
    order = Order(name="x", words=["a", "b"], ranks={"q": 4}, spare=Part(size=2))
    for copied in (pickle.loads(pickle.dumps(order)), copy.deepcopy(order)):
        assert copied == order
        with pytest.raises(TypeError):
            copied.ranks["q"] = 8


def test_plain_values_can_be_written_as_json_and_yaml() -> None:
    order = Order(name="x", words=["a", "b"], ranks={"q": 4})
    values = plain(order)
    assert values["words"] == ["a", "b"]
    assert (type(values["ranks"]), values["ranks"]) == (dict, {"q": 4})
    assert values["part"] == {"size": 1, "share": 0.5}
    assert Order(**values) == order
    assert plain({"a": (Path("b"), Part())}) == {"a": ["b", {"size": 1, "share": 0.5}]}


def test_values_without_names_are_refused_with_the_right_call() -> None:
    with pytest.raises(Mistake) as caught:
        Part(3, 0.2)  # type: ignore[arg-type]
    assert str(caught.value) == "Part takes its values by name; call Part(size=3, share=0.2)"
    with pytest.raises(Mistake, match=r"by name, and is given a mapping; call Part\(\*\*values\)$"):
        Part({"size": 3})  # type: ignore[arg-type]


def test_a_text_where_no_text_is_read_is_called_one() -> None:
    class Strict(Asked):
        """A model that reads no numbers from text."""

        model_config = ConfigDict(strict=True)
        rate: Number = 0.1
        """how fast"""

    with pytest.raises(Mistake, match=r"^rate is the text '0\.1'; it must be a number$"):
        Strict(rate="0.1")


def test_help_shows_plain_types_defaults_and_what_each_field_is() -> None:
    class Described(Asked):
        """Model with a documented field."""

        size: Annotated[Whole, Field(ge=1)] = 3
        """number of
        parts"""
        name: Text

    assert str(inspect.signature(Described)) == "(*, size: int = 3, name: str)"
    assert Described.__doc__ == "Model with a documented field.\n\nFields:\n    size: number of parts"
