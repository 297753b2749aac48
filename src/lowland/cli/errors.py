"""`lowland errors`: which examples the runs of a study get wrong, of which kinds, and how surely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lowland.cli.options import command
from lowland.ground.asked import Asked, NotEmpty, Several, Text, Truth, Whole
from lowland.ground.mistakes import Mistake, one_of
from lowland.ground.remote_store import EachFromURL


class ErrorsRequest(Asked):
    """Runs whose errors are analysed."""

    runs: Annotated[Several[Path], NotEmpty, EachFromURL]
    """folders or URLs of finished runs of one study, or the folder or URL that holds them"""
    method: Text | None = None
    """method to show in detail; default: the reference"""
    reference: Text | None = None
    """method that the others are compared with; default: lora if it took part, else the first"""
    split: Text = "test"
    """name of the test set"""
    examples: Annotated[Whole, Field(ge=0)] = 3
    """number of examples to show of each kind"""
    rules: Truth = True
    """sort English texts by rules (numbers that are compared, jargon, future, mixed news, negation, length)"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print everything as JSON, with all examples"""


def errors(request: ErrorsRequest) -> int:
    """Analyse the errors of runs, and print the report."""
    from lowland.evidence.errors import analyse
    from lowland.evidence.readers.answers import read_answers
    from lowland.evidence.readers.runs import finished
    from lowland.evidence.study import reference_among
    from lowland.ground.listing import entries_at, finished_runs, training_runs
    from lowland.report.errors import error_blocks
    from lowland.report.errors_json import analysis_as_json
    from lowland.report.markdown import render

    entries, _ = training_runs([entry for path in request.runs for entry in entries_at(path)])
    if damaged := [entry for entry in entries if entry.state in ("damaged", "other version")]:
        raise Mistake(f"{damaged[0].folder}: {damaged[0].reason}; move it away to analyse the other runs")
    runs = finished(list(finished_runs(entries)))
    if not runs:
        raise Mistake(f"{request.runs[0]} holds no finished training run")
    left_out = len(entries) - len(runs)
    answers = read_answers(runs, request.split)
    methods = list(answers.methods)
    for name in (request.method, request.reference):
        if name is not None and name not in methods:
            raise Mistake(one_of("method", name, methods))
    reference = request.reference or reference_among(list(runs.values()))
    analysis = analyse(answers, method=request.method or reference, reference=reference, rules=request.rules)
    if request.as_json:
        print(json.dumps(analysis_as_json(analysis), ensure_ascii=False, indent=1))
    else:
        print(render(error_blocks(analysis, request.examples, left_out)))
    return 0


ERRORS = command(errors, ErrorsRequest, positional="runs")
