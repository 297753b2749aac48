"""`lowland verdict`: which of several results is better, and how sure that is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lowland.cli.options import command
from lowland.ground.asked import Asked, NotEmpty, Number, Several, Text, Truth, Whole
from lowland.ground.mistakes import Mistake
from lowland.ground.remote_store import EachFromURL

if TYPE_CHECKING:
    from lowland.evidence.readers.table_results import Columns
    from lowland.evidence.results import Results
    from lowland.evidence.verdict import Verdict

Wanted = Literal["better", "non-inferior"]
FOR_ONE_TASK = ("names", "margin", "detect", "calibrate", "fail_under", "fail_unless")
"""Options that speak of the results of one task."""


class VerdictRequest(Asked):
    """Results to compare."""

    results: Annotated[Several[Path], NotEmpty, EachFromURL]
    """results to compare: runs of lowland or folders of them, logs of Inspect (.eval), samples of
    lm-evaluation-harness (samples_*.jsonl), tables (.csv, .tsv, .jsonl, .json, .parquet) with the columns example and
    score, and maybe seed, group, method and text; the first is the reference that the others are compared with (in a
    folder of runs, lora if it is there)"""
    names: Several[Text] = ()
    """names for the results, in their order; default: those of the methods, models or files"""
    reference: Text | None = None
    """name of the result to compare the others with; default: the first"""
    metric: Text | None = None
    """name of the score to compare, if the results hold several; of a table, the column with the scores"""
    level: Annotated[Number, Field(ge=0.5, le=0.999)] = 0.95
    """level of the intervals"""
    margin: Annotated[Number, Field(gt=0)] | None = None
    """also say whether a result loses at most this much, in points if scores are between 0 and 1 (non-inferiority)"""
    detect: Annotated[Number, Field(gt=0)] | None = None
    """also say how many examples or seeds it would take to see a difference of this size"""
    calibrate: Truth = False
    """also simulate studies like this one without a difference (A/A), and say how many get a verdict for nothing"""
    pool: Truth = False
    """the results are of one task each (folders of runs, or tables with a column method): also say how methods differ
    over all tasks"""
    partial: Truth = False
    """compare the examples that pair, even if they are less than 90 % of all"""
    flips: Annotated[Whole, Field(ge=0)] = 5
    """number of examples to show of those that a result scores better, and of those that it scores worse"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON list with an object for each comparison"""
    fail_under: Number | None = None
    """exit with 1 unless each interval lies above this difference"""
    fail_unless: Wanted | None = None
    """exit with 1 unless each result is better than the reference, or non-inferior to it (with --margin)"""
    example_column: Text = "example"
    """a table's column that names the example of a row; without it, the column with the text does"""
    score_column: Text = "score"
    """a table's column with the scores, higher is better"""
    seed_column: Text = "seed"
    """a table's column with the seeds, if it has one"""
    group_column: Text = "group"
    """a table's column that says which examples are alike, if it has one; in logs of Inspect, an entry of the samples'
    metadata; in samples of lm-evaluation-harness, an entry of the questions"""
    method_column: Text = "method"
    """a table's column that says what is scored, if it holds several results"""
    text_column: Text = "text"
    """a table's column with the examples' texts, if it has one"""


def verdict(request: VerdictRequest) -> int:
    """Compare results, and print the verdicts; return 1 if one is not what was asked for."""
    from lowland.evidence.readers.any_results import read_results
    from lowland.evidence.readers.table_results import Columns
    from lowland.evidence.verdict import compare_results
    from lowland.report.markdown import render
    from lowland.report.verdict import verdict_blocks, verdicts_as_json

    if request.fail_unless == "non-inferior" and request.margin is None:
        raise Mistake("fail_unless is non-inferior, and no margin is given; add --margin")
    columns = Columns(
        request.example_column,
        request.score_column,
        request.seed_column,
        request.group_column,
        request.method_column,
        request.text_column,
    )
    if request.pool:
        return _pool(request, columns)
    results = _named(read_results(request.results, request.metric, columns), request.names)
    _put_first(results, request.reference)
    verdicts = compare_results(
        results,
        level=request.level,
        margin=request.margin,
        detect=request.detect,
        partial=request.partial,
        calibrate=request.calibrate,
    )
    if request.as_json:
        print(json.dumps(verdicts_as_json(verdicts, request.flips), ensure_ascii=False, indent=1))
    else:
        print(render(verdict_blocks(verdicts, request.flips)))
    reasons = [reason for each in verdicts for reason in _shortfalls(each, request)]
    for reason in reasons:
        print(f"lowland: {reason}", file=sys.stderr)
    return int(bool(reasons))


def _pool(request: VerdictRequest, columns: Columns) -> int:
    """Combine the differences over tasks, and print them."""
    from lowland.evidence.pooled import compare_over_tasks
    from lowland.evidence.readers.any_results import read_results
    from lowland.report.markdown import render
    from lowland.report.pooled import pooled_as_json, pooled_blocks

    if unused := [name for name in FOR_ONE_TASK if getattr(request, name) not in (None, False, ())]:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise Mistake(f"--pool is given with {options}, which speak of one task; leave out one or the other")
    tasks = [(path.name, read_results([path], request.metric, columns)) for path in request.results]
    if len(dict(tasks)) < len(tasks):
        raise Mistake(
            f"two of the tasks have one name ({', '.join(name for name, _ in tasks)}); give each task once, or rename"
            " one"
        )
    for _, results in tasks:
        _put_first(results, request.reference)
    pooled = compare_over_tasks(dict(tasks), level=request.level, partial=request.partial)
    if request.as_json:
        print(json.dumps(pooled_as_json(pooled, request.flips), ensure_ascii=False, indent=1))
    else:
        print(render(pooled_blocks(pooled)))
    return 0


def _put_first(results: list[Results], reference: str | None) -> None:
    """Put the result with the reference's name first, in place; leave the order as it is if None."""
    if reference is None:
        return
    names = [each.name for each in results]
    if reference not in names:
        raise Mistake(f"no result is called {reference!r}; expected one of {', '.join(names)}")
    results.sort(key=lambda each: each.name != reference)


def _named(results: list[Results], names: Sequence[str]) -> list[Results]:
    """Return results under the names that the user gives; under their own if none is given."""
    if not names:
        return results
    own = ", ".join(each.name for each in results)
    if len(names) != len(results) or len(set(names)) < len(names):
        raise Mistake(
            f"names is {' '.join(names)}; expected {len(results)} different names, one for each result: {own}"
        )
    return [replace(each, name=name) for each, name in zip(results, names, strict=True)]


def _shortfalls(verdict: Verdict, request: VerdictRequest) -> list[str]:
    """Return in sentences what of that which was asked for a verdict does not show."""
    compared = verdict.comparison
    reasons = []
    if request.fail_under is not None and compared.low <= request.fail_under * verdict.unit:
        low = f"{compared.low / verdict.unit:.4g}{' points' if compared.is_share else ''}"
        reasons.append(
            f"--fail-under: the interval of {compared.method} begins at {low}, not above {request.fail_under:g}"
        )
    if request.fail_unless == "better" and verdict.outcome != "better":
        reasons.append(f"--fail-unless better: {compared.method} is {verdict.outcome}")
    if request.fail_unless == "non-inferior" and verdict.margin_outcome != "non-inferior":
        reasons.append(f"--fail-unless non-inferior: {compared.method} is {verdict.margin_outcome}")
    return reasons


VERDICT = command(verdict, VerdictRequest, positional="results")
