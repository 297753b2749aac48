from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

FAULTS = """
import resource
from lowland.ground.runtime import keep_large_blocks
import numpy as np

def pages_given_anew(steps=20, mib=64):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        np.ones(mib * 2**17)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults

before = pages_given_anew()
configured = keep_large_blocks()
pages_given_anew()
print(configured, before, pages_given_anew())
"""


def run(environment: Mapping[str, str]) -> tuple[bool, int, int]:
    import os

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    process = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env={**inherited, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    word, before, after = process.stdout.split()
    return word == "True", int(before), int(after)


@needs_glibc
def test_freed_blocks_are_reused_without_a_system_call() -> None:
    configured, before, after = run({})
    assert configured
    assert before > 100
    assert after < before / 10


@needs_glibc
def test_the_users_environment_variables_are_kept() -> None:
    configured, before, after = run({"MALLOC_MMAP_THRESHOLD_": "65536"})
    assert not configured
    assert after > before / 2
