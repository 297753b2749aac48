"""`lowland measure spectrum`: curvature of the loss at the weights of runs."""

from __future__ import annotations

import json
import sys

from lowland.cli.forgetting import AsJSON
from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.ground.table_files import write_table
from lowland.measure.spectrum.settings import SpectrumSample, SpectrumSettings


def spectrum(settings: SpectrumSettings, sample: SpectrumSample, report: AsJSON) -> int:
    """Measure the curvature of the loss at the weights of runs: eigenvalues, trace and spectral density."""
    quiet_libraries()
    from lowland.evidence.spectrum import ratios_of
    from lowland.evidence.study import reference_of
    from lowland.ground.progress import Progress
    from lowland.measure.spectrum.measure import measure_spectrum
    from lowland.report.markdown import render
    from lowland.report.spectrum import spectrum_as_json, spectrum_blocks

    measured = measure_spectrum(settings, sample, progress=Progress(sys.stderr))
    reference = settings.reference or reference_of(measured.methods)
    ratios = ratios_of(measured.table, reference)
    if settings.out is not None:
        write_table(settings.out, measured.table)
    if report.as_json:
        about = {"reference": reference, "split": measured.split, "examples": measured.examples}
        content = {**about, **spectrum_as_json(measured.table, ratios)}
        print(json.dumps(content, ensure_ascii=False, indent=1))
        return 0
    print(render(spectrum_blocks(measured.table, measured.split, measured.examples, settings.probes, ratios)))
    if settings.out is not None:
        print(f"\nAll figures, and the densities on a grid, are in {settings.out}.")
    return 0


SPECTRUM = command(spectrum, SpectrumSettings, SpectrumSample, AsJSON, positional="runs")
