"""Settings of the process are undone."""

from __future__ import annotations

import os

import pytest

from lowland.ground.runtime import environment_with


def test_environment_variables_are_as_before_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    before = dict(os.environ)
    with environment_with(OMP_NUM_THREADS="3", OMP_WAIT_POLICY="PASSIVE"):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("3", "PASSIVE")
    assert dict(os.environ) == before
