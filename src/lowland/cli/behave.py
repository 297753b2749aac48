"""`lowland behave`: a suite of behavioural tests for fine-tuned classifiers."""

from __future__ import annotations

import json
import sys

from pydantic import Field

from lowland.cli.options import command
from lowland.cli.quiet import quiet_libraries
from lowland.cli.report_file import ReportFile
from lowland.ground.asked import Asked, Text, Truth
from lowland.ground.store import write_whole
from lowland.stress.behaviour.settings import BehaviourSettings


class ReportOptions(Asked):
    """Form of the report of a behavioural test."""

    reference: Text | None = None
    """method that the others are compared with; default: lora, if it took part"""
    as_json: Truth = Field(False, json_schema_extra={"option": "json"})
    """print the report as a JSON object"""


def behave(settings: BehaviourSettings, options: ReportOptions, file: ReportFile) -> int:
    """Test fine-tuned classifiers on a suite of cases, and print the report."""
    quiet_libraries()
    from lowland.ground.progress import Progress
    from lowland.ground.record_files import read_rows, read_stress_record
    from lowland.report.behaviour import behaviour_blocks
    from lowland.report.behaviour_json import behaviour_as_json
    from lowland.report.markdown import render
    from lowland.stress.behaviour.run import behave as run_suite

    folder = run_suite(settings, reference=options.reference, progress=Progress(sys.stderr))
    record, rows = read_stress_record(folder), read_rows(folder)
    markdown = render(behaviour_blocks(rows, record, reference=options.reference))
    if options.as_json:
        print(
            json.dumps(
                behaviour_as_json(rows, record, reference=options.reference), ensure_ascii=False, indent=1
            )
        )
    else:
        print(f"\n{markdown}\n\nThe rows are in {folder}")
    if file.report is not None:
        write_whole(file.report, markdown + "\n")
    return 0


BEHAVE = command(behave, BehaviourSettings, ReportOptions, ReportFile, positional="runs")
