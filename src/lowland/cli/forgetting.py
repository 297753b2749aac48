"""`lowland retention` and `rewind`: what tuned models lost on other data, and the best scale of an adapter."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.deploy.forgetting.settings import ColumnsOfTexts, RetentionSettings, RewindSettings
from lowland.ground.asked import Asked, Truth
from lowland.ground.mistakes import plural
from lowland.ground.table_files import write_table

if TYPE_CHECKING:
    from lowland.deploy.forgetting.retention import Retention
    from lowland.deploy.forgetting.rewind import Rewound
    from lowland.evidence.verdict import Verdict


class AsJSON(Asked):
    """Form of the output."""

    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print a JSON object with all figures and comparisons"""


def retention(settings: RetentionSettings, columns: ColumnsOfTexts, report: AsJSON) -> int:
    """Measure how much tuned models lost on data of another task."""
    quiet_libraries()
    from lowland.deploy.forgetting.retention import BASE, measure_retention
    from lowland.evidence.study import reference_of
    from lowland.ground.progress import Progress
    from lowland.report.forgetting import retention_blocks
    from lowland.report.markdown import render

    measured = measure_retention(settings, columns, progress=Progress(sys.stderr))
    reference = settings.reference or reference_of(measured.methods)
    others = [name for name in measured.methods if name != reference]
    against = {BASE: measured.methods, reference: others}
    verdicts = {name: _compare(measured, name, methods) for name, methods in against.items()}
    if settings.out is not None:
        write_table(settings.out, measured.table)
    if report.as_json:
        print(json.dumps(_retention_as_json(measured, verdicts), ensure_ascii=False, indent=1))
        return 0
    texts = f"{plural(measured.n_texts, 'text')} of {measured.source}"
    compared = list(verdicts.values())
    print(render(retention_blocks(measured.figures, measured.seeds, texts, measured.majority, compared)))
    if settings.out is not None:
        print(
            f"\nThe scores of all texts are in {settings.out}; for examples and margins: lowland verdict {settings.out}"
            f" --reference {BASE}"
        )
    return 0


def rewind(settings: RewindSettings, columns: ColumnsOfTexts, report: AsJSON) -> int:
    """Scale the adapter of a run, and keep the scale with the best score on validation data."""
    quiet_libraries()
    from lowland.deploy.forgetting.rewind import rewind as rewind_run
    from lowland.deploy.forgetting.rewound import write_rewound
    from lowland.ground.progress import Progress
    from lowland.report.forgetting import rewind_blocks
    from lowland.report.markdown import render

    rewound = rewind_run(settings, columns, progress=Progress(sys.stderr))
    verdicts = _compare_scales(rewound)
    if settings.out is not None:
        write_rewound(rewound, settings.out)
    if report.as_json:
        print(json.dumps(_rewound_as_json(rewound, verdicts), ensure_ascii=False, indent=1))
        return 0
    blocks = rewind_blocks(
        rewound.validation,
        rewound.n_validation,
        rewound.chosen,
        {scale: test.scores for scale, test in rewound.tests.items()},
        rewound.retention,
        rewound.retention_of_base,
        verdicts,
    )
    print(render(blocks))
    if settings.out is not None:
        print(
            f"\nThe run with scale {rewound.chosen:g} is in {settings.out}: lowland predict {settings.out} --text …"
        )
    return 0


def _compare(measured: Retention, reference: str, methods: Sequence[str]) -> list[Verdict]:
    """Compare methods with a reference, over the texts and over the seeds that both have."""
    from lowland.evidence.results import as_results
    from lowland.evidence.verdict import compare_results

    if not methods:
        return []
    tables = {name: measured.table[measured.table["method"] == name] for name in (reference, *methods)}
    results = [
        as_results(table.drop(columns="method"), name, measured.score, str(measured.source))
        for name, table in tables.items()
    ]
    return compare_results(results, partial=True)  # each method with the seeds that it has


def _compare_scales(rewound: Rewound) -> list[Verdict]:
    """Compare the chosen scale with the adapter as trained on the test examples.

    There is nothing to compare if the two are the same, or if all examples are alike.
    """
    from lowland.deploy.forgetting.rewind import AS_TRAINED
    from lowland.evidence.readers.runs import TEST
    from lowland.evidence.results import as_results
    from lowland.evidence.verdict import compare_results
    from lowland.tasks.table import task_named

    groups = rewound.tests[AS_TRAINED].predictions.query("split == @TEST")["group"].nunique()
    if rewound.chosen == AS_TRAINED or groups < 2:
        return []
    score = task_named(rewound.record.task).mean_score
    results = []
    for scale in (AS_TRAINED, rewound.chosen):
        table = rewound.tests[scale].predictions
        rows = table[table["split"] == TEST][["example", "group", "score"]]
        results.append(as_results(rows, f"scale {scale:g}", score, str(rewound.run)))
    return compare_results(results)


def _retention_as_json(measured: Retention, verdicts: dict[str, list[Verdict]]) -> dict[str, Any]:
    from lowland.report.verdict import verdicts_as_json

    return {
        "data": str(measured.source),
        "texts": measured.n_texts,
        "score": measured.score,
        "majority": measured.majority,
        "methods": {
            name: {"seeds": measured.seeds[name], **figures} for name, figures in measured.figures.items()
        },
        "against": {name: verdicts_as_json(compared, flips=0) for name, compared in verdicts.items()},
    }


def _rewound_as_json(rewound: Rewound, verdicts: list[Verdict]) -> dict[str, Any]:
    from lowland.report.verdict import verdicts_as_json

    scales = [
        {
            "scale": scale,
            "validation": dict(scores),
            "retention": dict(rewound.retention[scale]) if rewound.retention else None,
        }
        for scale, scores in rewound.validation.items()
    ]
    base = rewound.retention_of_base
    return {
        "run": str(rewound.run),
        "scales": scales,
        "chosen": rewound.chosen,
        "validation_examples": rewound.n_validation,
        "retention_of_base": None if base is None else dict(base),
        "retention_score": rewound.retention_score,
        "test": [{"scale": scale, "scores": test.scores} for scale, test in rewound.tests.items()],
        "against_as_trained": verdicts_as_json(verdicts, flips=0),
    }


RETENTION = command(retention, RetentionSettings, ColumnsOfTexts, AsJSON, positional="runs")
REWIND = command(rewind, RewindSettings, ColumnsOfTexts, AsJSON, positional="run")
