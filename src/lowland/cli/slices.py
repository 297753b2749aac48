"""`lowland measure slices`: the loss along lines and planes through the weights of runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lowland.cli.forgetting import AsJSON
from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.ground.store import Store, making_parents
from lowland.ground.table_files import write_table
from lowland.measure.slices.settings import SlicesSample, SlicesSettings

if TYPE_CHECKING:
    from lowland.evidence.slices import Barrier
    from lowland.measure.slices.measure import Slices
    from lowland.report.drawing.svg import Drawing

LOSSES = "losses.parquet"


def slices(settings: SlicesSettings, sample: SlicesSample, report: AsJSON) -> int:
    """Measure the loss along lines and planes through the weights of runs, and draw it."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.measure.slices.measure import measure_slices
    from lowland.report.blocks import Bullets
    from lowland.report.markdown import render
    from lowland.report.slices import barrier_sentence, barriers_as_json

    measured = measure_slices(settings, sample, progress=Progress(sys.stderr))
    barriers = _barriers(measured)
    drawings = _drawings(measured)
    content = {
        "task": measured.task,
        "runs": dict(measured.runs),
        "examples": dict(measured.sizes),
        "slices": [
            {
                "name": each.name,
                "title": each.title,
                "places": {name: list(at) for name, at in each.places.items()},
            }
            for each in measured.slices.values()
        ],
        "barriers": barriers_as_json(barriers),
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    _write(measured, drawings, text, settings.out)
    if report.as_json:
        print(text)
        return 0
    sentences = [
        barrier_sentence(measured.slices[name].title, split, barrier)
        for (name, split), barrier in barriers.items()
    ]
    if sentences:
        print(render([Bullets(tuple(sentences))]) + "\n")
    print(f"The losses are in {settings.out / LOSSES}, and pictures beside it: {', '.join(drawings)}")
    return 0


def _barriers(measured: Slices) -> dict[tuple[str, str], Barrier]:
    """Return the barrier of each line between two places, by slice and split."""
    from lowland.evidence.slices import barrier_on

    return {
        (str(name), str(split)): barrier_on(rows)
        for (name, split), rows in measured.table.groupby(["slice", "split"], sort=False)
        if measured.slices[str(name)].is_between
    }


def _drawings(measured: Slices) -> dict[str, Drawing]:
    """Return the pictures by the names of their files: one of each line, and one of each plane and split."""
    from lowland.evidence.slices import mean_losses
    from lowland.report.drawing.surfaces import curves, surface_map

    drawings = {}
    for name, rows in measured.table.groupby("slice", sort=False):
        shown = measured.slices[str(name)]
        means = {str(split): mean_losses(own) for split, own in rows.groupby("split", sort=False)}
        if shown.is_line:
            lines = {split: list(zip(own["x"], own["loss"], strict=True)) for split, own in means.items()}
            places = {place: x for place, (x, _) in shown.places.items()}
            drawings[f"{name}.svg"] = curves(f"Loss {shown.title}", lines, places)
            continue
        for split, own in means.items():
            losses = dict(zip(zip(own["x"], own["y"], strict=True), own["loss"], strict=True))
            title = f"Loss, {split} data, {shown.title.removeprefix('the plane ')}"
            drawings[f"{name}-{split}.svg"] = surface_map(title, losses, shown.places)
    return drawings


def _write(measured: Slices, drawings: dict[str, Drawing], text: str, out: Path) -> None:
    """Write losses, pictures and places into a new folder: all of it, or nothing."""
    with (
        making_parents(out),
        TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as beside,
    ):
        with Store(beside).writing(out.name) as partial:
            write_table(partial / LOSSES, measured.table)
            (partial / "slices.json").write_text(text + "\n", encoding="utf-8")
            for name, drawing in drawings.items():
                (partial / name).write_text(drawing.svg(), encoding="utf-8")
        (Path(beside) / out.name).rename(out)


SLICES = command(slices, SlicesSettings, SlicesSample, AsJSON, positional="runs")
