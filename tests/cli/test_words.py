"""The words of a command line: what they mean, and one sentence for everything that is wrong with them."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import AfterValidator, Field

from lowland.cli.options import Command, command
from lowland.cli.study import COMPARE, TRAIN
from lowland.cli.words import read_words
from lowland.ground.asked import Asked, FixedMapping, Number, Several, Text, Truth, Whole
from lowland.lora.config import RankPattern


class Order(Asked):
    """A model with an option of each kind."""

    run: Text
    """a folder"""
    lr: Number = 0.1
    """a number"""
    name: Text = "x"
    """a text"""
    text: Several[Text] = ("a",)
    """texts"""
    seeds: Several[Whole] = (1,)
    """numbers"""
    targets: Several[Text] = ("q",)
    """patterns"""
    fast: Truth = False
    """a switch that is off"""
    keep: Truth = True
    """a switch that is on"""
    no_header: Truth = False
    """a switch whose name says no"""
    swap: Truth = Field(False, json_schema_extra={"option": "exchange"})
    """a switch with another name"""
    rank_pattern: Annotated[RankPattern, AfterValidator(FixedMapping)] = FixedMapping({})
    """a mapping"""


VERB = command(lambda order: 0, Order, positional="run")


def read(*words: str, verb: Command = VERB) -> tuple[dict[str, object], list[str]]:
    return read_words(words, verb, "lowland verb")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("r --lr 1", {"run": "r", "lr": "1"}),
        ("--lr 1 r", {"run": "r", "lr": "1"}),
        ("--lr=1 r --name=a=b", {"run": "r", "lr": "1", "name": "a=b"}),
        ("--lr -1e-3", {"lr": "-1e-3"}),
        ("--lr -.5", {"lr": "-.5"}),
        ("--lr 1 --lr 2", {"lr": "2"}),
        ("--text a b --text c", {"text": ["a", "b", "c"]}),
        ("--text=-5% r", {"text": ["-5%"], "run": "r"}),
        ("--text a,b c", {"text": ["a,b", "c"]}),
        ("--text -- --odd", {"run": "--odd"}),
        ("--targets q{1,2} v", {"targets": ["q{1,2}", "v"]}),
        ("--fast r", {"fast": True, "run": "r"}),
        ("--no-fast --no-keep", {"fast": False, "keep": False}),
        ("--keep --no_header --no-header", {"keep": True, "no_header": True}),
        ("--exchange", {"swap": True}),
        ("--rank_pattern {q:&4}", {"rank_pattern": {"q": 4}}),
        ("--name=", {"name": ""}),
    ],
)
def test_words_are_read(words: str, values: dict[str, object]) -> None:
    read_values, problems = read(*(word.replace("&", " ") for word in words.split()))
    assert read_values == values
    assert [problem for problem in problems if "--text has no value" not in problem] == []


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ("--lr", ["--lr has no value; give one, as --lr LR"]),
        ("--text", ["--text has no value; give one, as --text TEXT"]),
        ("--lr --fast", ["--lr has no value; give one, as --lr LR"]),
        ("--text -5%", ["-5% begins with a dash; to give it as a value, write --text=-5%"]),
        ("--text a -b", ["-b begins with a dash; to give it as a value, write --text=-b"]),
        ("--keep=false", ["--keep takes no value; write --no-keep"]),
        ("--fast=true", ["--fast takes no value; write --fast alone"]),
        ("--fast true", ["--fast takes no value; write --fast alone"]),
        ("--no-header=false", ["--no-header takes no value; leave --no-header out"]),
        ("r q", ["unexpected argument 'q'; lowland verb takes one run, and has r"]),
        ("r --lr 1 2", ["--lr takes one value, and is given 2: 1, 2; give one, as --lr 1"]),
        ("--lr 1,2", ["--lr takes one value, and is given 2: 1, 2; give one, as --lr 1"]),
        ("--seeds 1,2", ["--seeds is given 1,2; separate its values with spaces: --seeds 1 2"]),
        ("--seeds [1,2]", ["--seeds is given [1,2]; separate its values with spaces: --seeds 1 2"]),
        ("--targets q,v", ["--targets is given q,v; separate its values with spaces: --targets q v"]),
        (
            "--rank-pattern {q:&1,q:&2}",
            ["--rank-pattern, line 1: the key 'q' occurs twice in one mapping; remove one"],
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(words: str, sentences: list[str]) -> None:
    assert read(*(word.replace("&", " ") for word in words.split()))[1] == sentences


def test_an_unknown_option_takes_its_values_with_it_and_hides_no_other_mistake() -> None:
    values, problems = read("--fsat", "--namee", "a", "b", "--lr", "3", "-lr", "4", "--zzzz=3")
    assert values == {"lr": "3"}
    assert [problem.partition(" Allowed")[0] for problem in problems] == [
        "unknown option '--fsat'; did you mean '--fast'?",
        "unknown option '--namee'; did you mean '--name'?",
        "unknown option '-lr'; did you mean '--lr'?",
        "unknown option '--zzzz';",
    ]


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--learning-rate", "--lr"), ("--leraning_rate", "--lr"), ("--num-epochs", "--epochs"), ("-r", "--rank"),
        ("--lora-r", "--rank"), ("--lora_alpha", "--alpha"), ("--target-modules", "--targets"),
        ("--max-seq-length", "--max-length"), ("--output-dir", "--out"), ("--rnk", "--rank"),
    ],
)  # fmt: skip
def test_the_names_of_other_libraries_are_understood(option: str, meant: str) -> None:
    for verb in (COMPARE, TRAIN):
        assert read(option, "3", verb=verb)[1] == [
            f"unknown option '{option}'; did you mean '{meant}'? lowland verb --help lists all"
        ]


def test_several_values_of_a_setting_lead_to_a_recipe() -> None:
    for words in (["--rho", "0.01,0.05"], ["--rho", "0.01", "0.05"]):
        ((problem,)) = read(*words, verb=COMPARE)[1]
        assert problem.startswith(
            "--rho takes one value, and is given 2: 0.01, 0.05; for several, write a recipe"
        )
        assert "{flat-lora: {rho: 0.05, label: flat-lora-0.05}}" in problem
    ((problem,)) = read("--seed", "1", "2", verb=TRAIN)[1]
    assert problem.endswith("lowland compare takes several: lowland compare --seeds 1 2")
