"""Real files with changed bytes, at every reader: a result or a mistake, within seconds, and nothing harmed.

`make fuzz` runs it. `LOWLAND_FUZZ_SECONDS` is its length, 300 by default, and `LOWLAND_FUZZ_SEED` chooses the cases.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lowland.ground.record_files import write_rows, write_stress_record
from lowland.stress.asking.ratings import sample_for_rating, write_sheet
from tests.evidence.test_stress import messy
from tests.fuzz.targets import TARGETS
from tests.report.test_stress import record_of

pytestmark = pytest.mark.fuzz
SECONDS = float(os.environ.get("LOWLAND_FUZZ_SECONDS", "300"))
SEED = os.environ.get("LOWLAND_FUZZ_SEED", "0")
LONGEST_CASE = 5
"""Seconds after which a case hangs."""
LONGEST_START = 120
"""Seconds after which a process that has not begun a case hangs."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files to change."""
    return tmp_path_factory.mktemp("base")


@pytest.fixture
def real_files(base: Path, lowland: Callable[..., tuple], tiny_model: Path, tmp_path: Path) -> Path:
    """A trained run, a stress test, and a filled-in sheet."""
    if not (base / "run").exists():
        shutil.copytree(tiny_model, base / "model")
        code, _, err = lowland("train", "--model", str(base / "model"), "--dtype", "fp32")
        assert code == 0, err
        (run,) = (tmp_path / "runs").glob("classification-*")
        rows = messy()
        (base / "stress").mkdir()
        write_rows(base / "stress", rows)
        write_stress_record(base / "stress", record_of(rows))
        sheet = sample_for_rating(rows, 20).assign(fluency="4")
        write_sheet(base / "ratings.csv", sheet)
        shutil.copytree(run, base / "run")
    return base


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("target", TARGETS)
def test_changed_files_are_read_or_refused(target: str, real_files: Path, tmp_path: Path) -> None:
    folder, until = tmp_path / target, time.monotonic() + SECONDS / len(TARGETS)
    (folder / "findings").mkdir(parents=True)
    case = 0
    while (left := until - time.monotonic()) > 0:
        case = run_worker(target, left, case, folder, real_files)
    findings = sorted((folder / "findings").iterdir())
    print(f"\n{target}: {case} cases, seed {SEED}")
    details = [f"{found}\n{(found / 'traceback.txt').read_text()[-3000:]}" for found in findings]
    assert not findings, "\n\n".join(details)
    assert case > 0


def run_worker(target: str, seconds: float, first: int, folder: Path, base: Path) -> int:
    """Run a process from a case on; keep a case that hangs or ends it. Return the next case."""
    arguments = [target, SEED, seconds, first, folder, base]
    mark = folder / "case"
    mark.unlink(missing_ok=True)
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            stdout=output,
            stderr=output,
        )
        try:
            return wait_for(process, mark, first)
        finally:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], mark: Path, first: int) -> int:
    """Wait until a process ends; keep the case at which it hangs or dies. Return the next case."""
    current, since = "", time.monotonic()
    while True:
        code = process.poll()
        text = mark.read_text() if mark.exists() else ""
        if text.endswith("done"):
            return int(text.split()[0])
        if text != current:
            current, since = text, time.monotonic()
        hangs = time.monotonic() - since > (LONGEST_CASE if current else LONGEST_START)
        if hangs or code is not None:
            assert current, (mark.parent / "output").read_text()[-3000:]
            found = mark.parent / "findings" / f"{'hangs' if hangs else f'ends-{code}'}-{current}"
            shutil.copytree(mark.parent / "work", found)
            (found / "traceback.txt").write_text((mark.parent / "output").read_text()[-2000:])
            return int(current) + 1
        time.sleep(0.05)
