"""Sections of what `lowland measure` measured at the weights of runs: a section for each kind."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowland.evidence.readers.measurements import Measurements
from lowland.evidence.study import reference_of
from lowland.report.blocks import Section
from lowland.report.sections.adapters import adapter_blocks
from lowland.report.sections.curvature import curvature_blocks
from lowland.report.sections.flatness import flatness_blocks
from lowland.report.sections.slices import slice_blocks


def measured_sections(
    measured: Measurements, names: Sequence[str], reference: str | None, surface: str | None
) -> list[Section]:
    """Build the sections of what was measured.

    Args:
        measured: the measurements.
        names: names of the page's methods, whose places give their looks; the measured ones are among them.
        reference: method that the others are compared with, wherever it was measured; None, as elsewhere, takes LoRA
            if it was measured, else the first.
        surface: name of the file beside the page in which planes can be turned; None if there is none.
    """
    sections = []
    if measured.sharpness is not None:
        own = _reference(measured.sharpness, reference)
        sections.append(Section("Flatness", tuple(flatness_blocks(measured.sharpness, own, names))))
    if measured.spectrum is not None:
        own = _reference(measured.spectrum, reference)
        sections.append(Section("Curvature", tuple(curvature_blocks(measured.spectrum, own, names))))
    if measured.slices:
        sections.append(Section("Slices", tuple(slice_blocks(measured.slices, len(names), surface))))
    if measured.adapters is not None:
        sections.append(Section("Adapters", tuple(adapter_blocks(measured.adapters, names))))
    return sections


def _reference(table: pd.DataFrame, reference: str | None) -> str:
    methods = list(dict.fromkeys(map(str, table["method"])))
    return reference if reference in methods else reference_of(methods)
