"""The documentation can be built, strictly; its reference of the command line is what the command line says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    run("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site"))
    reference = (tmp_path / "site" / "reference" / "python.html").read_text("utf-8")
    for name in ("add_lora", "FlatLoRA", "run_study", "verdict"):
        assert f'">{name}' in reference or f">{name}<" in reference
    assert "fonts.googleapis" not in (tmp_path / "site" / "index.html").read_text("utf-8")


def test_reference_of_the_command_line_is_up_to_date() -> None:
    run("tools/reference.py", "--check")
