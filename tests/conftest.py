"""What the tests share: tiny models from configs, and a small table of texts."""

from __future__ import annotations

import functools
import gc
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test waits for a hub
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

from lowland.models.find import find_model
from lowland.models.source import ModelSource
from lowland.study.recipe import Recipe
from lowland.tasks.examples import TaskData
from lowland.tasks.table import load_data, task_fields
from lowland.train.job import Job
from tests import generation_runs

torch.set_num_threads(1)  # the models here are tiny
settings.register_profile("lowland", derandomize=True, deadline=None)  # the same examples in every run
settings.load_profile("lowland")
gc.freeze()  # collections need not visit the objects of the imports

GOOD, BAD, FILL = ("rises", "gains", "wins"), ("falls", "loses", "fails"), ("the firm", "its unit", "a bank")


@pytest.fixture
def bert() -> BertForSequenceClassification:
    """A BERT classifier of 2 layers, 16 wide, with three classes; dropout as usual."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertForSequenceClassification(bert_config(num_labels=3)).eval()


@pytest.fixture
def gpt2() -> GPT2LMHeadModel:
    """A GPT-2 of 2 layers, 16 wide: its linear layers are Conv1D."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2)
        return GPT2LMHeadModel(config).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    """Token ids (3, 7)."""
    return torch.randint(5, 60, (3, 7), generator=torch.Generator().manual_seed(1))


def bert_config(**changes: int) -> BertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=64, max_position_embeddings=40, **{**sizes, **changes})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny encoder and its tokenizer, like one from the hub."""
    folder = tmp_path_factory.mktemp("model") / "tiny-bert"
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *{w: 0 for t in (*GOOD, *BAD, *FILL) for w in t.split()},
        "again",
    ]
    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    raw.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", model_max_length=40
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(bert_config(), add_pooling_layer=True).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder with 30 images of each of two shapes."""
    from tests.images import draw_folder

    return draw_folder(tmp_path / "shapes")


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny ViT and its image processor."""
    from tests.images import save_vit

    return save_vit(tmp_path_factory.mktemp("model") / "vit")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny CLIP, both towers, and its image processor."""
    from tests.images import save_clip

    return save_clip(tmp_path_factory.mktemp("model") / "clip")


def table_of(copies: int = 12) -> pd.DataFrame:
    """Texts with two labels that a tiny model can learn, each text once."""
    rows = [
        (f"{subject} {verb} {'again ' * n}".strip(), label)
        for verbs, label in ((GOOD, "good"), (BAD, "bad"))
        for verb in verbs
        for subject in FILL
        for n in range(copies)
    ]
    return pd.DataFrame(rows, columns=["text", "label"])


@pytest.fixture(autouse=True)
def one_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let studies run in this process, unless a test asks for workers."""
    monkeypatch.setattr("lowland.study.engines.forks.FEWEST", 10**9)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """`table_of` as a CSV file."""
    path = tmp_path / "texts.csv"
    table_of().to_csv(path, index=False)
    return path


@pytest.fixture
def lowland(
    tmp_path: Path, tiny_model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple]:
    """Runs a command line in this process on the tiny model: (exit code, stdout, stderr)."""
    from lowland.cli.main import main

    def run(verb: str, *options: str, small: bool = True) -> tuple[int, str, str]:
        arguments = [verb, *options]
        if small and verb in ("compare", "train"):
            for name, value in (("--task", "classification"), ("--data", texts), ("--model", tiny_model)):
                arguments += [] if name in options else [name, str(value)]
            method = options[options.index("--method") + 1] if "--method" in options else "lora"
            ranked = method.rpartition("+")[2] not in (
                "full",
                "ia3",
                "head",
                "bitfit",
            )  # the others have a rank
            for name, value in (("--epochs", 2), ("--lr", 0.01), ("--rank", 4), ("--out", tmp_path / "runs")):
                if name not in options and (name != "--rank" or ranked):
                    arguments += [name, str(value)]
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A file of the public data sets; if it is missing, the test is skipped with the file's name."""

    def find(name: str) -> Path:
        root = os.environ.get("LOWLAND_DATA")
        path = Path(root or ".") / name
        if root is None or not path.is_file():
            pytest.skip(f"{name} is missing; put the folder that holds it into LOWLAND_DATA")
        return path

    return find


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run that has learned one of the toys of `generation_runs`; each is trained once."""
    return functools.cache(
        lambda name: generation_runs.first_run(
            generation_runs.TOYS[name], tmp_path_factory.mktemp(f"first-{name}")
        )
    )


@pytest.fixture
def data(texts: Path) -> TaskData:
    """`table_of`, split."""
    return load_data(task_fields("classification", data=str(texts)))


@pytest.fixture
def source(tiny_model: Path) -> ModelSource:
    """The tiny model as a source."""
    return find_model(str(tiny_model))


def job_of(method: str, data: TaskData, source: ModelSource, seed: int = 42, **changes: object) -> Job:
    """A job for a method on these data and this model, in fp32 by default."""
    values = {"task": "classification", "dtype": "fp32", "out": "runs", **changes}
    own = values.pop("own", None)
    recipe = Recipe(**{**values, "methods": [{method: own} if own else method]})
    (choice,) = recipe.methods
    assert recipe.dtype != "auto"
    return Job(
        fields=recipe.task,
        method=choice,
        seed=seed,
        model=source.name,
        revision=None,
        max_length=recipe.max_length or 128,
        dtype=recipe.dtype,
        compile=recipe.compile,
        keep_weights=recipe.keep_weights,
        data=data,
        source=source,
        out=Path(recipe.out),
    )


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    from tests.ground.s3 import s3_server

    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket; this process finds its server."""
    from tests.ground.s3 import new_bucket, use_s3

    use_s3(s3_address, monkeypatch)
    return new_bucket()
