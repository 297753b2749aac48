"""Labels: one spelling for each class, and sentences on labels that look like a mistake."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lowland.ground.mistakes import plural

LARGEST_SHARE = 0.2
"""Number of classes, as a share of the rows, above which a column contains ids or numbers rather than labels."""


def canonical_labels(cells: Iterable[Any]) -> list[str]:
    """Return labels as text, with one spelling for each class.

    Text is normalised to NFC, spaces at its ends are removed, and others become single spaces. Spellings of one number
    (1 and 1.0, but not 01) and of one truth value (true, True) are one class; its name is the most frequent spelling,
    of equally frequent ones the shortest.

    Examples:
        >>> canonical_labels([1, 1.0, "1 ", "01", True, "true", "no"])
        ['1', '1', '1', '01', 'True', 'True', 'no']
    """
    labels = [_as_text(cell) for cell in cells]
    name_of = {
        meaning: min(counts, key=lambda label: (-counts[label], len(label)))
        for meaning, counts in _spellings(labels).items()
    }
    return [name_of[_meaning(label)] for label in labels]


def joined_remarks(cells: Iterable[Any]) -> list[str]:
    """Return a sentence for each class that joins several spellings of a number or truth value, with their counts."""
    return [
        f"the labels {_counted(counts)} are spellings of one {meaning[1]}, and are one class; write them with a letter,"
        " such as v3.1 and v3.10, if they differ"
        for meaning, counts in _spellings(map(_as_text, cells)).items()
        if len(counts) > 1
    ]


def case_remarks(labels: Iterable[str]) -> list[str]:
    """Return a sentence for each group of labels that differ in case or invisible characters alone."""
    counts = Counter(labels)
    groups: dict[str, list[str]] = {}
    for label in sorted(counts):
        groups.setdefault(_visible(label).casefold(), []).append(label)
    return [
        f"the labels {_counted({label: counts[label] for label in group})} differ in"
        f" {'case' if all(label == _visible(label) for label in group) else 'invisible characters'} alone, and are"
        " classes of their own; spell them alike if they are one"
        for group in groups.values()
        if len(group) > 1
    ]


def label_problems(labels: Iterable[str], source: str) -> list[str]:
    """Return a sentence if there are fewer than two labels, or too many for labels (ids, for instance)."""
    counts = Counter(labels)
    rows = counts.total()
    if len(counts) < 2:
        return [f"{source} has one label only, {next(iter(counts))!r}; a classifier needs at least two"]
    if len(counts) > max(2, LARGEST_SHARE * rows):
        return [
            f"{source} has {len(counts)} labels in {rows} rows; is the label column the right one? It holds"
            f" {_examples(list(counts))}. Numbers to be predicted are not labels, and neither are ids"
        ]
    return []


def rare_problems(labels: Iterable[str], source: str) -> list[str]:
    """Return a sentence on labels of one row only, which cannot be both trained on and tested."""
    rare = [label for label, count in Counter(labels).items() if count < 2]
    if not rare:
        return []
    return [
        f"{source}: {_examples(rare)} {'has' if len(rare) == 1 else 'have'} one row only; every label needs at least"
        " two, to be trained on and tested"
    ]


def _visible(label: str) -> str:
    """Return a label without characters that no one sees, such as a zero-width space."""
    return "".join(letter for letter in label if unicodedata.category(letter) != "Cf")


def _as_text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return " ".join(unicodedata.normalize("NFC", str(cell)).split())


def _spellings(labels: Iterable[str]) -> dict[Any, Counter[str]]:
    """Return the spellings of each class, with their counts."""
    spellings: dict[Any, Counter[str]] = {}
    for label in labels:
        spellings.setdefault(_meaning(label), Counter())[label] += 1
    return spellings


def _counted(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{label!r} ({plural(count, 'row')})" for label, count in sorted(counts.items()))


def _meaning(label: str) -> Any:
    """Return the key that spellings of one class share: a number's value, a truth value's name, else the spelling."""
    if label.casefold() in ("true", "false"):
        return label.casefold(), "truth value"
    digits = label.lstrip("+-").partition(".")[0]
    if digits.isdecimal() and digits.isascii() and (digits == "0" or not digits.startswith("0")):
        try:
            return Decimal(label), "number"
        except InvalidOperation:
            return label
    return label


def _examples(labels: list[str]) -> str:
    return ", ".join(repr(label) for label in labels[:3]) + (", …" if len(labels) > 3 else "")
