"""`lowland measure sharpness`: how much the loss of runs rises near their weights."""

from __future__ import annotations

import json
import sys

from lowland.cli.forgetting import AsJSON
from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.ground.table_files import write_table
from lowland.measure.sharpness.settings import SharpnessSample, SharpnessSettings


def sharpness(settings: SharpnessSettings, sample: SharpnessSample, report: AsJSON) -> int:
    """Measure how much the loss of runs rises near their weights, by noise and in the worst direction."""
    quiet_libraries()
    from lowland.evidence.sharpness import sharpness_of
    from lowland.evidence.study import reference_of
    from lowland.ground.progress import Progress
    from lowland.measure.sharpness.measure import measure_sharpness
    from lowland.report.markdown import render
    from lowland.report.sharpness import sharpness_as_json, sharpness_blocks

    measured = measure_sharpness(settings, sample, progress=Progress(sys.stderr))
    reference = settings.reference or reference_of(measured.methods)
    figures = sharpness_of(measured.table, reference)
    if settings.out is not None:
        write_table(settings.out, measured.table)
    if report.as_json:
        content = {
            "reference": reference,
            "examples": measured.sizes,
            "draws": settings.draws,
            "sharpness": sharpness_as_json(figures),
            "not_finite": list(measured.ended),
        }
        print(json.dumps(content, ensure_ascii=False, indent=1))
        return 0
    print(render(sharpness_blocks(figures, measured.sizes, settings.draws, measured.ended)))
    if settings.out is not None:
        print(f"\nThe rises of all examples are in {settings.out}.")
    return 0


SHARPNESS = command(sharpness, SharpnessSettings, SharpnessSample, AsJSON, positional="runs")
