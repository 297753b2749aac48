"""Settings that differ among the runs of one method, as an ablation varies them, and the scores along each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lowland.evidence.core.spread import Spread, spread_of
from lowland.ground.records import RunRecord

LEAST_VALUES = 3
"""Least number of values of a setting for a curve."""


@dataclass(frozen=True)
class AxisPoint:
    """Scores of one label at one value of a setting.

    Attributes:
        label: label of the method with this value.
        value: value of the setting.
        score: mean and standard deviation over seeds.
        low: lowest score of a seed.
        high: highest score of a seed.
        seeds: number of seeds.
    """

    label: str
    value: float
    score: Spread
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class SettingAxis:
    """Scores of a method along a setting.

    Attributes:
        method: name of the method.
        setting: name of the setting.
        others: the values of the other settings that vary, as text; "" if none does.
        points: by rising value.
    """

    method: str
    setting: str
    others: str
    points: tuple[AxisPoint, ...]


def setting_axes(records: Sequence[RunRecord], score: str, split: str = "test") -> list[SettingAxis]:
    """Return the curves of a score along each setting with three numbers or more, all else of the method equal.

    An alpha that is the same multiple of the rank in all runs counts as tied to the rank.

    Args:
        records: records of finished runs.
        score: name of the score.
        split: name of the test set.
    """
    axes = []
    for name in dict.fromkeys(str(record.asked["method"].get("name")) for record in records):
        own = [record for record in records if record.asked["method"].get("name") == name]
        varying = _varying(own)
        for setting in varying:
            others = [other for other in varying if other != setting]
            for rest in dict.fromkeys(_rest(record, others) for record in own):
                points = _points(
                    [record for record in own if _rest(record, others) == rest], setting, score, split
                )
                if len(points) >= LEAST_VALUES:
                    axes.append(SettingAxis(name, setting, rest, tuple(points)))
    return axes


def _varying(records: Sequence[RunRecord]) -> list[str]:
    """Return the settings that differ among runs, but for the label and what is tied to another setting."""
    settings = [record.asked["method"] for record in records]
    names = dict.fromkeys(name for each in settings for name in each if name not in ("label", "name"))
    varying = [name for name in names if len({str(each.get(name)) for each in settings}) > 1]
    if {"rank", "alpha"} <= set(varying):
        ratios = {each["alpha"] / each["rank"] for each in settings if each.get("alpha") and each.get("rank")}
        if len(ratios) == 1:
            varying.remove("alpha")
    return varying


def _rest(record: RunRecord, others: Sequence[str]) -> str:
    return ", ".join(f"{name} {record.asked['method'].get(name)}" for name in others)


def _points(records: Sequence[RunRecord], setting: str, score: str, split: str) -> list[AxisPoint]:
    """Return the scores by value, of the runs whose value is a number."""
    by_value: dict[float, list[RunRecord]] = {}
    for record in records:
        value = record.asked["method"].get(setting)
        if isinstance(value, int | float) and not isinstance(value, bool):
            by_value.setdefault(float(value), []).append(record)
    points = []
    for value, own in sorted(by_value.items()):
        scores = [record.scores[split][score] for record in own]
        points.append(
            AxisPoint(own[0].method, value, spread_of(scores), min(scores), max(scores), len(scores))
        )
    return points
