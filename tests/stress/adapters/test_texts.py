"""Damage to inputs: a single column has the example's random stream; further columns have their own."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd

from lowland.ground.rng import stream_seed
from lowland.stress.adapters.settings import AdapterStressSettings
from lowland.stress.adapters.texts import Examples, Requests, conditions_of, damaged_requests
from lowland.text.corruptions import corrupt

TEXT, SEED = "the firm gains again", 5


def damaged(**inputs: str) -> Requests:
    """The requests for one example under typos at the rate 0.3: clean, then damaged."""
    about = pd.DataFrame([{"split": "test", "item": 3, "group": "a", "topic": "", "label": "up"}])
    examples = Examples(about, pd.DataFrame([inputs]), pd.DataFrame({"label": ["up"]}))
    settings = AdapterStressSettings(runs="unused", corruptions="typos", levels=[0.3])
    return damaged_requests(examples, conditions_of(settings), settings.mitigations, SEED)


def typos(*column: str) -> str:
    seed = stream_seed(SEED, "corruption", "test", 3, "typos", *column)
    return corrupt(TEXT, "typos", 0.3, seed=seed).text


def test_an_only_column_is_damaged_by_the_stream_of_split_example_and_corruption() -> None:
    assert list(damaged(text=TEXT).inputs["text"]) == [TEXT, typos()]


def test_further_columns_add_their_name_to_the_stream() -> None:
    requests = damaged(first=TEXT, second=TEXT)
    clean, corrupted = requests.inputs.to_dict("records")
    assert clean == {"first": TEXT, "second": TEXT}
    assert corrupted == {"first": typos(), "second": typos("second")}
    assert corrupted["first"] != corrupted["second"]
    assert list(requests.about["prompt"])[1] == f"{typos()} | {typos('second')}"


def test_the_settings_are_read_without_torch() -> None:
    """The command line builds its parser from them before it reads the arguments."""
    program = (
        "import sys, lowland.stress.adapters.settings\n"
        "print(*sorted({'torch', 'transformers', 'peft', 'inspect_ai'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
