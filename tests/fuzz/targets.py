"""Entry points that read files, each with real files to change: functions of drawn data and a folder to work in."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pandas as pd
import zstandard
from hypothesis import strategies as st

from lowland.evidence.readers.runs import finished
from lowland.ground.record_files import read_predictions, read_rows, read_stress_record
from lowland.items.fact import facts
from lowland.items.messy import messy_items
from lowland.items.multilingual import multilingual_items
from lowland.lora import load_adapter
from lowland.models.load import load_classifier, load_tokenizer
from lowland.replies.answers import match
from lowland.report.study import summary
from lowland.stress.asking.prices import read_prices
from lowland.tasks.table import load_data, task_fields
from tests.fuzz.watched import lowland, unharmed
from tests.strategies import ALIASES, VALUES, mutated
from tests.tasks.questions import as_squad, question_rows

REPOSITORY = Path(__file__).parents[2]
ITEMS = Path(str(resources.files("lowland.items")))
REPLIES = REPOSITORY / "tests" / "replies" / "labelled_replies.jsonl"
RECIPE = b"""task: {name: classification, data: a.csv, text_column: review}
methods: [full, lora, {lora: {rank: 4, rank_pattern: {query: 8}, label: small}}, neftune+flat-lora]
seeds: [1, 2]
lr: 1e-3
overrides: {full: {lr: 5e-5}}
"""
PRICES = b"a/b: {input: 3, output: 15}\nc/d: {input: .5, output: 1e1}\n"


def tables(data: st.DataObject, work: Path, base: Path) -> None:
    """Read a table as `lowland train` does, up to the model."""
    form = data.draw(st.sampled_from(sorted(_forms())))
    content = _changed(data, _forms()[form])
    ending = data.draw(st.sampled_from(["", *COMPRESSIONS]))
    packed = COMPRESSIONS[ending](content) if ending else content
    path = work / f"data{form}{ending}"
    path.write_bytes(_changed(data, packed) if ending and data.draw(st.booleans()) else packed)
    fields = {"data": str(path)}
    if data.draw(st.integers(0, 9)) == 0:
        fields["separator"] = data.draw(st.sampled_from([",", ";", "tab", " ", "|"]))
    if data.draw(st.integers(0, 9)) == 0:
        fields |= {"no_header": "true", "text_column": "1", "label_column": "2"}
    with unharmed(work):
        load_data(task_fields("classification", **fields))


def originals(data: st.DataObject, work: Path, base: Path) -> None:
    """Read the original files of public data sets, in their authors' forms."""
    table = _demo()
    lines = list(zip(table["text"], table["label"], strict=True))
    ham = {"neutral": "ham"}
    pairs = [
        (text, other, "entailment" if label == "neutral" else "not_entailment")
        for (text, label), (other, _) in pairwise(lines)
    ]
    header = "index\tsentence1\tsentence2\tlabel"
    contents = {
        "financial-phrasebank": "\r\n".join(f"{text}@{label}" for text, label in lines).encode(
            "latin-1", "replace"
        ),
        "sms-spam": "".join(f"{ham.get(label, 'spam')}\t{text}\n" for text, label in lines).encode(),
        "rte": "\n".join([header, *(f"0\t{a}\t{b}\t{c}" for a, b, c in pairs)]).encode(),
    }
    name = data.draw(st.sampled_from(sorted(contents)))
    (work / "train.tsv").write_bytes(_changed(data, contents[name]))
    (work / "dev.tsv").write_bytes(contents["rte"])
    with unharmed(work):
        load_data(task_fields(name, data=str(work if name == "rte" else work / "train.tsv")))


def questions(data: st.DataObject, work: Path, base: Path) -> None:
    """Read questions about contexts, in SQuAD's form or as a table, up to the model."""
    rows = question_rows(titles=6, each=4)
    contents = {
        "questions.json": json.dumps(as_squad(rows)).encode(),
        "questions.jsonl": "\n".join(map(json.dumps, rows)).encode(),
        "questions.csv": pd.DataFrame(rows)
        .assign(answers=[json.dumps(row["answers"]) for row in rows])
        .to_csv()
        .encode(),
    }
    name = data.draw(st.sampled_from(sorted(contents)))
    (work / name).write_bytes(_changed_json(data, contents[name]))
    with unharmed(work):
        load_data(task_fields("question-answering", data=str(work / name)))


def recipes(data: st.DataObject, work: Path, base: Path) -> None:
    """Read a recipe, and print it; a printed recipe prints the same."""
    seeds = [
        RECIPE,
        ALIASES + RECIPE,
        *(path.read_bytes() for path in (REPOSITORY / "recipes").glob("*.yaml")),
    ]
    path, again = work / "recipe.yaml", work / "again.yaml"
    path.write_bytes(_changed(data, data.draw(st.sampled_from(seeds))))
    verb = data.draw(st.sampled_from(["compare", "train"]))
    with unharmed(work):
        printed = lowland(verb, "--config", path, "--print-config")
    if printed is not None:
        again.write_text(printed, encoding="utf-8")
        assert lowland(verb, "--config", again, "--print-config") == printed


def records(data: st.DataObject, work: Path, base: Path) -> None:
    """Read the record and the predictions of a run, and report on them."""
    name = data.draw(st.sampled_from(["record.json", "predictions.parquet"]))
    _copy(base / "run", work, "record.json", "predictions.parquet")
    before = read_predictions(work)
    (work / name).write_bytes(_changed_json(data, (work / name).read_bytes()))
    with unharmed(work):
        if name == "predictions.parquet":
            assert_same_values(read_predictions(work), before)
        runs = finished([work])
        if runs:
            summary([work])


def stress_records(data: st.DataObject, work: Path, base: Path) -> None:
    """Read the record and the rows of a stress test, and report on them."""
    name = data.draw(st.sampled_from(["record.json", "rows.parquet"]))
    _copy(base / "stress", work, "record.json", "rows.parquet")
    before = read_rows(work)
    (work / name).write_bytes(_changed_json(data, (work / name).read_bytes()))
    with unharmed(work):
        if name == "rows.parquet":
            assert_same_values(read_rows(work), before)
        read_stress_record(work)
        lowland("stress", "report", work)


def ratings(data: st.DataObject, work: Path, base: Path) -> None:
    """Join a sheet that people filled in with the rows."""
    _copy(base / "stress", work, "record.json", "rows.parquet")
    sheet, out = work / "ratings.csv", work / "rated.csv"
    sheet.write_bytes(_changed(data, (base / "ratings.csv").read_bytes()))
    with unharmed(work):
        lowland("stress", "merge-back", sheet, "--runs", work, "--out", out, out=out)


def adapters(data: st.DataObject, work: Path, base: Path) -> None:
    """Load an adapter into its model, and predict with it."""
    name = data.draw(st.sampled_from(["adapter_config.json", "adapter_model.safetensors"]))
    shutil.copytree(base / "run" / "adapter", work / "adapter")
    path = work / "adapter" / name
    path.write_bytes(_changed_json(data, path.read_bytes()))
    with unharmed(work):
        folder = base / "model"
        model = load_classifier(folder, ["bad", "good"], load_tokenizer(folder)).model
        load_adapter(model, work / "adapter")
    with unharmed(work):
        lowland("predict", work / "adapter", "--text", "the firm rises")


def runs(data: st.DataObject, work: Path, base: Path) -> None:
    """Predict with a run whose record is changed."""
    shutil.copytree(base / "run", work / "run")
    path = work / "run" / "record.json"
    path.write_bytes(_changed_json(data, path.read_bytes()))
    with unharmed(work):
        lowland("predict", work / "run", "--text", "the firm rises")


def predictions(data: st.DataObject, work: Path, base: Path) -> None:
    """Predict for the texts of a table, and score them."""
    form = data.draw(st.sampled_from(sorted(_forms())))
    path, out = work / f"data{form}", work / "out.csv"
    path.write_bytes(_changed(data, _forms(20)[form]))
    label = ["--label-column", "label"] if data.draw(st.booleans()) else []
    with unharmed(work):
        printed = lowland("predict", base / "run", "--data", path, *label, "--out", out, out=out)
    if printed is not None:
        pd.read_csv(out, dtype=str, keep_default_na=False)


def items(data: st.DataObject, work: Path, base: Path) -> None:
    """Read the files of a stress test: items, facts, languages and prices."""
    shutil.copytree(ITEMS, work / "items", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    readers: Mapping[str, Callable[[Path], object]] = {
        "messy.jsonl": messy_items,
        "facts.jsonl": facts,
        "multilingual.jsonl": lambda path: multilingual_items(path.parent),
        "languages/hindi.json": lambda path: multilingual_items(path.parents[1]),
        "prices.yaml": read_prices,
    }
    name = data.draw(st.sampled_from(sorted(readers)))
    path = work / "items" / name
    path.write_bytes(_changed_json(data, PRICES if name == "prices.yaml" else path.read_bytes()))
    with unharmed(work):
        readers[name](path)


def replies(data: st.DataObject, work: Path, base: Path) -> None:
    """Compare changed replies, short and long, with answers."""
    reply, item = data.draw(st.sampled_from(_replies())), data.draw(st.sampled_from(messy_items()))
    changed = _changed(data, f"{reply} {data.draw(st.sampled_from(item.answers))}".encode())
    text = changed.decode("utf-8", data.draw(st.sampled_from(["replace", "surrogateescape", "ignore"])))
    text *= data.draw(st.sampled_from([1, 1, 1, 1, 1, 1, 10, 100, 1000]))
    kind = data.draw(st.sampled_from([item.kind, item.kind, "name", "number", "year", "phrase"]))
    match(text[:100_000], item.answers, kind, item.question)


def assert_same_values(table: pd.DataFrame, before: pd.DataFrame) -> None:
    """Compare tables but for names and types of columns: Parquet has checksums of its pages, and none of the footer."""
    pd.testing.assert_frame_equal(table.set_axis(before.columns, axis=1), before, check_dtype=False)


COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zip": lambda content: _zip({"data": content}),
}
TARGETS: Mapping[str, Callable[[st.DataObject, Path, Path], None]] = {
    target.__name__: target
    for target in (
        tables, originals, questions, recipes, records, stress_records, ratings, adapters, runs, predictions, items,
        replies,
    )
}  # fmt: skip


def _changed(data: st.DataObject, content: bytes) -> bytes:
    return data.draw(mutated(content))


def _changed_json(data: st.DataObject, content: bytes) -> bytes:
    """Change bytes, or a value of a JSON object, which may be a line."""
    lines = content.split(b"\n") if content.count(b"\n{") else [content]
    place = data.draw(st.integers(0, len(lines) - 1))
    if not lines[place].startswith(b"{") or data.draw(st.booleans()):
        return _changed(data, content)
    values = json.loads(lines[place])
    inner = values
    while True:
        key = data.draw(st.sampled_from(sorted(inner))) if inner else "added"
        if not isinstance(inner.get(key), dict) or data.draw(st.booleans()):
            break
        inner = inner[key]
    inner[key] = data.draw(VALUES)
    lines[place] = json.dumps(values).encode()
    return b"\n".join(lines)


def _copy(source: Path, work: Path, *names: str) -> None:
    for name in names:
        shutil.copy(source / name, work / name)


def _zip(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@cache
def _demo(rows: int = 200) -> pd.DataFrame:
    path = resources.files("lowland.tasks") / "data" / "financial_demo.csv"
    table = pd.read_csv(io.BytesIO(path.read_bytes()), dtype=str, keep_default_na=False)
    return table.groupby("label").head(rows // 3).reset_index(drop=True)


@cache
def _forms(rows: int = 200) -> dict[str, bytes]:
    """Return the demo data as a file of each form."""
    table = _demo(rows)[["text", "label"]]
    forms = {".csv": table.to_csv(index=False).encode()}
    forms[".tsv"] = table.to_csv(index=False, sep="\t", quoting=3, escapechar="\\").encode()
    forms[".jsonl"] = table.to_json(orient="records", lines=True, force_ascii=False).encode()
    forms[".json"] = table.to_json(orient="records").encode()
    for form, write in ((".parquet", table.to_parquet), (".xlsx", table.to_excel)):
        file = io.BytesIO()
        write(file, index=False)
        forms[form] = file.getvalue()
    return forms


@cache
def _replies() -> list[str]:
    return [json.loads(line)["text"] for line in REPLIES.read_text(encoding="utf-8").splitlines()]
