"""`lowland measure adapters` and `measure cost`."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.ground.table_files import write_table
from lowland.measure.adapter_settings import AdapterMeasureSettings, CostSettings

if TYPE_CHECKING:
    from lowland.measure.learned import Learned


def adapters(settings: AdapterMeasureSettings) -> int:
    """Measure what runs and adapters learned: norms, ranks, intruder dimensions, overlap and drift."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.measure.learned import measure_adapters
    from lowland.report.adapters import adapter_blocks
    from lowland.report.markdown import render

    learned = measure_adapters(settings, Progress(sys.stderr))
    if settings.out is not None:
        write_table(settings.out, learned.table())
    if settings.as_json:
        print(json.dumps(_as_json(learned, settings), ensure_ascii=False, indent=1))
        return 0
    blocks = adapter_blocks(
        learned.layers,
        learned.overlaps,
        learned.drifts,
        learned.retained,
        learned.notes,
        k=settings.k,
        epsilon=settings.epsilon,
        directions=settings.directions,
        by_layer=settings.by_layer,
    )
    print(render(blocks))
    if settings.out is not None:
        print(f"\nAll figures, by layer, are in {settings.out}")
    return 0


def cost(settings: CostSettings) -> int:
    """Measure what a run costs: parameters, optimizer, steps, inference and files."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.measure.cost import measure_cost
    from lowland.report.cost import cost_blocks
    from lowland.report.markdown import render

    figures = measure_cost(settings, Progress(sys.stderr)).figures()
    if settings.as_json:
        print(json.dumps(figures, ensure_ascii=False, indent=1))
    else:
        print(render(cost_blocks(figures)))
    return 0


def _as_json(learned: Learned, settings: AdapterMeasureSettings) -> dict[str, Any]:
    from lowland.report.adapters import per_run

    runs = per_run(learned.layers, learned.drifts, learned.retained)
    return {
        "k": settings.k,
        "epsilon": settings.epsilon,
        "directions": settings.directions,
        "runs": [_without_nan(row) for row in runs.astype(object).to_dict(orient="records")],
        "layers": [_without_nan(row) for row in learned.layers],
        "overlaps": learned.overlaps,
        "drifts": [_without_nan(row) for row in learned.drifts],
        "notes": learned.notes,
    }


def _without_nan(row: dict[Any, Any]) -> dict[Any, Any]:
    """Return a row with None in place of NaN, which JSON lacks."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }


ADAPTERS = command(adapters, AdapterMeasureSettings, positional="runs")
COST = command(cost, CostSettings, positional="run")
