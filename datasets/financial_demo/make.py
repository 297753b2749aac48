"""Generator of the data set financial-demo from its template banks.

Run ``python datasets/financial_demo/make.py`` after a change to a ``*.yaml`` bank. With ``--check``,
the exit code is 1 if the CSV on disk differs from the generated one. The same banks give the same
bytes on every machine. Each template draws from its own random stream, seeded by its own text, so that
a change to one template does not change the sentences of the others. Sentences of one template share a
``group``, the template's number in the bank; an inserted template renumbers those after it.

Slots of a template:

    ``{company}``, ``{sector}`` ...: a filler from the same file; ``{company2}`` is a different one.
    ``{lo_pct}``, ``{mid_pct}``, ``{hi_pct}``: numbers of one kind, drawn with ``lo < mid < hi``.
    ``{quarter}``, ``{month}`` ...: words that all splits share (``SHARED``).
    ``[a|b]``: one of the alternatives.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
CSV_PATH = HERE.parents[1] / "src" / "lowland" / "tasks" / "data" / "financial_demo.csv"

SPLITS = ("train", "validation", "test", "shifted")
LABELS = ("negative", "neutral", "positive")
CATEGORIES = (
    "plain",
    "numeric-context",
    "jargon",
    "forward-looking",
    "mixed-signal",
    "negation",
)

SHARED: dict[str, tuple[str, ...]] = {
    "cur": ("$", "€", "£"),
    "quarter": ("first quarter", "second quarter", "third quarter", "final quarter"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "month": ("January", "February", "April", "June", "July", "September", "October", "November"),
    "year": ("2020", "2021", "2022", "2023"),
    "next": ("2027", "2028", "2029"),
}


@dataclass(frozen=True)
class Kind:
    """Kind of number.

    Attributes:
        low: smallest value of ``lo``, in units of ``step * 10 ** -decimals``.
        high: largest value of ``lo``, in the same units.
        step: distance between neighbouring numbers, before the decimal point is set.
        decimals: number of decimals.
    """

    low: int
    high: int
    step: int = 1
    decimals: int = 0


KINDS = {
    "pct": Kind(2, 11),  # percent
    "dec": Kind(11, 52, decimals=1),  # percent with one decimal
    "m": Kind(18, 240),  # millions of a currency
    "eps": Kind(21, 140, decimals=2),  # currency per share
    "bps": Kind(3, 12, step=10),  # basis points
    "x": Kind(12, 26, decimals=1),  # multiples of EBITDA
    "n": Kind(12, 90, step=5),  # pieces or people
    "days": Kind(14, 38),  # days, or cents a share
}


@dataclass(frozen=True)
class Template:
    """Sentence with slots, and the label that it has whatever the slots are filled with."""

    split: str
    category: str
    label: str
    text: str


def read_bank(split: str) -> dict[str, Any]:
    """Read one split's bank: ``fillers``, ``templates`` and ``sentences_per_template``.

    Raises:
        ValueError: if the split in the file is not the one in its file name.
    """
    bank = yaml.safe_load((HERE / f"{split}.yaml").read_text(encoding="utf-8"))
    if bank["split"] != split:
        raise ValueError(f"{split}.yaml says split {bank['split']!r}; expected {split!r}")
    return dict(bank)


def templates_of(bank: dict[str, Any]) -> Iterator[Template]:
    """Yield a bank's templates in the order category, label, line."""
    for category in CATEGORIES:
        for label in LABELS:
            for text in bank["templates"][category][label]:
                yield Template(bank["split"], category, label, text)


def draw_numbers(kind: Kind, stream: random.Random) -> dict[str, str]:
    """Draw ``lo < mid < hi``, each 1.25 to 1.55 times the one before, so that a reader notices the gap.

    ``lo`` varies more than the gaps do, so that the size of a number does not show which one it is.
    """
    low = stream.randint(kind.low, kind.high)
    mid = max(low + 1, round(low * stream.uniform(1.25, 1.55)))
    high = max(mid + 1, round(mid * stream.uniform(1.25, 1.55)))
    scale = kind.step / 10**kind.decimals
    values = {"lo": low, "mid": mid, "hi": high}
    return {name: f"{value * scale:.{kind.decimals}f}" for name, value in values.items()}


def fill(template: str, fillers: dict[str, list[str]], stream: random.Random) -> str:
    """Return the template with every slot filled; a slot that occurs twice gets the same value twice."""
    text = re.sub(r"\[([^\]]*)\]", lambda match: stream.choice(match[1].split("|")), template)
    values: dict[str, str] = {}
    taken: set[str] = set()  # so that {company} and {company2} differ
    for slot in re.findall(r"\{(\w+)\}", text):
        if slot in values:
            continue
        size, _, kind = slot.partition("_")
        if size in ("lo", "mid", "hi"):
            drawn = draw_numbers(KINDS[kind], stream)
            values.update({f"{name}_{kind}": value for name, value in drawn.items()})
            continue
        name = slot.rstrip("0123456789")
        choices = SHARED[name] if name in SHARED else fillers[name]
        values[slot] = stream.choice([choice for choice in choices if choice not in taken])
        taken.add(values[slot])
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)


def expand(template: Template, bank: dict[str, Any], tries: int = 400) -> list[str]:
    """Return ``sentences_per_template`` different sentences of one template.

    Raises:
        ValueError: if the template has too few slots for that many different sentences.
    """
    wanted = bank["sentences_per_template"]
    stream = random.Random(f"0/{template.split}/{template.label}/{template.text}")
    sentences: dict[str, None] = {}  # a set that keeps its order
    for _ in range(tries):
        sentence = fill(template.text, bank["fillers"], stream)
        # Posts are in lower case on purpose, so their first letter stays.
        if template.split != "shifted":
            sentence = sentence[:1].upper() + sentence[1:]
        sentences[sentence] = None
        if len(sentences) == wanted:
            return list(sentences)
    raise ValueError(
        f"a template gives {len(sentences)} different sentences, but {wanted} are needed; "
        f"add a slot or a choice to it: {template.text}"
    )


def make_rows() -> list[tuple[str, str, str, str, str]]:
    """Return all rows ``(text, label, split, category, group)``; each split is shuffled with a fixed seed.

    A group stands for a template: ``test-017`` is the 17th of its bank, in the order of `templates_of`.
    """
    rows: list[tuple[str, str, str, str, str]] = []
    for split in SPLITS:
        bank = read_bank(split)
        part = [
            (sentence, template.label, split, template.category, f"{split}-{number:03d}")
            for number, template in enumerate(templates_of(bank), start=1)
            for sentence in expand(template, bank)
        ]
        random.Random(f"0/{split}").shuffle(part)
        rows += part
    return rows


def make_csv() -> bytes:
    """Return the bytes of the CSV: UTF-8, line feeds, header ``text,label,split,category,group``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("text", "label", "split", "category", "group"))
    writer.writerows(make_rows())
    return out.getvalue().encode("utf-8")


def main(argv: list[str] | None = None) -> int:
    """Write the CSV, or only compare it with ``--check``; return the exit code."""
    parser = argparse.ArgumentParser(description="Write financial_demo.csv from its template banks.")
    parser.add_argument(
        "--check", action="store_true", help="only compare; the exit code is 1 if the file differs"
    )
    args = parser.parse_args(argv)
    made = make_csv()
    if not args.check:
        CSV_PATH.write_bytes(made)
        print(f"wrote {CSV_PATH.name}: {len(make_rows())} sentences")
        return 0
    if CSV_PATH.exists() and CSV_PATH.read_bytes() == made:
        print(f"{CSV_PATH.name} agrees with the banks")
        return 0
    print(f"{CSV_PATH.name} differs from the banks; run make.py without --check", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
