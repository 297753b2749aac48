"""A process that fuzzes one target: `python -m tests.fuzz.worker TARGET SEED SECONDS FIRST FOLDER BASE`.

Its folder holds `work`, with the files of the case that runs; `case`, whose change says that a new one began; and
`findings`, a folder for each error, with its files and traceback.
"""

from __future__ import annotations

import random
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS
from tests.fuzz.watched import watch

LARGEST_MEMORY = 12 * 2**30
"""Bytes of addresses that a process may use."""
DRAWN = 4096
"""Random bytes from which a case is drawn."""


def main(target: str, seed: str, seconds: str, first: str, folder: Path, base: Path) -> None:
    """Run cases until the time is up."""
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_MEMORY, LARGEST_MEMORY))
    work, until, case = folder / "work", time.monotonic() + float(seconds), int(first)

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def drive(data: st.DataObject) -> None:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        TARGETS[target](data, work, base)

    watch()
    while time.monotonic() < until:
        (folder / "case").write_text(str(case))
        try:
            drive.hypothesis.fuzz_one_input(random.Random(f"{seed} {case}").randbytes(DRAWN))
        except Exception as error:
            keep(error, folder, case)
        case += 1
    (folder / "case").write_text(f"{case} done")


def keep(error: Exception, folder: Path, case: int) -> None:
    """Keep the files and the traceback of an error, of each place in the code the first."""
    last = [entry for entry in traceback.extract_tb(error.__traceback__) if "/lowland/" in entry.filename][
        -1:
    ]
    place = "-".join(
        [type(error).__name__, *(f"{Path(entry.filename).stem}-{entry.lineno}" for entry in last)]
    )
    found = folder / "findings" / place
    if not found.exists():
        shutil.copytree(folder / "work", found)
        (found / "traceback.txt").write_text(
            f"case {case}\n{traceback.format_exc()}", errors="backslashreplace"
        )


if __name__ == "__main__":
    target, seed, seconds, first, *folders = sys.argv[1:]
    main(target, seed, seconds, first, *map(Path, folders))
