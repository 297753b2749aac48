"""Option `--report`: a file for the report of a test."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from lowland.ground.asked import Asked, OutputFile, Truth, check_free


class ReportFile(Asked):
    """File for the report of a stress test."""

    report: OutputFile | None = None
    """write the full report to this file, as Markdown"""
    replace_file: Truth = Field(False, json_schema_extra={"option": "replace"})
    """replace the file of --report if it exists"""

    @model_validator(mode="after")
    def _check_free(self) -> Self:
        check_free(self.report, "--report", replace=self.replace_file)
        return self
