"""Named random streams: pure functions of seed and name, independent, the same on every machine."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowland.ground import rng
from lowland.ground.rng import stream, stream_seed

NAMES = st.lists(st.one_of(st.text(max_size=6), st.integers(-5, 5)), max_size=4).map(tuple)
SEEDS = st.integers(-(2**70), 2**70)


@pytest.mark.parametrize(
    ("seed", "name", "spelled"),
    [
        (42, ("head",), "(42, 'head')"),
        (0, (), "(0,)"),
        (-1, ("order",), "(-1, 'order')"),
        (7, ("noise", 3, "encoder.layer.0"), "(7, 'noise', 3, 'encoder.layer.0')"),
        (2**80, ("it's", '"'), f"({2**80}, \"it's\", '\"')"),
    ],
)
def test_the_seed_is_the_head_of_a_sha256_of_seed_and_name(seed, name, spelled):
    digest = hashlib.sha256(spelled.encode("utf-8")).hexdigest()
    assert stream_seed(seed, *name) == int(digest[:16], 16) // 2


@given(SEEDS, NAMES)
@settings(deadline=None, max_examples=60)
def test_a_seed_fits_every_generator(seed, name):
    assert 0 <= stream_seed(seed, *name) < 2**63


@given(st.lists(st.tuples(SEEDS, NAMES), min_size=2, max_size=12))
@settings(deadline=None, max_examples=60)
def test_streams_are_equal_exactly_when_seed_and_every_part_of_the_name_are(streams):
    for (seed, name), (other_seed, other_name) in itertools.combinations(streams, 2):
        same = (seed, [(type(p), p) for p in name]) == (other_seed, [(type(p), p) for p in other_name])
        assert (stream_seed(seed, *name) == stream_seed(other_seed, *other_name)) == same


def test_parts_of_a_name_are_kept_apart_and_numbers_differ_from_text():
    names = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc",),
        ("a", "b", "c"),
        (1,),
        ("1",),
        (1, 2),
        (12,),
        ("1, 2",),
        ("1', '2",),
    ]
    assert len({stream_seed(0, *name) for name in names}) == len(names)


def test_a_stream_does_not_depend_on_other_draws():
    first = stream(42, "order").random(8)
    np.random.seed(1)
    stream(42, "noise").random(1000)
    np.testing.assert_array_equal(stream(42, "order").random(8), first)


def test_a_stream_starts_from_its_seed():
    np.testing.assert_array_equal(
        stream(42, "noise", 3).integers(0, 2**60, 8),
        np.random.default_rng(stream_seed(42, "noise", 3)).integers(0, 2**60, 8),
    )


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_has_the_same_streams(hash_seed):
    """Python salts `hash()` in each process; the streams must not depend on it."""
    code = (
        "import importlib.util, sys; s = importlib.util.spec_from_file_location('rng', sys.argv[1]);"
        " m = importlib.util.module_from_spec(s); s.loader.exec_module(m);"
        " print(m.stream_seed(42, 'noise', 7, 'layer'), m.stream(42, 'order').integers(0, 2**60))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, rng.__file__],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    here = stream_seed(42, "noise", 7, "layer"), stream(42, "order").integers(0, 2**60)
    assert tuple(map(int, process.stdout.split())) == here


def test_near_seeds_and_near_names_are_uncorrelated():
    """A smoke test: 20,000 draws a stream; a correlation beyond 6 standard errors is a shared stream."""
    n = 20_000
    streams = [(42, "noise", step) for step in range(4)] + [(43, "noise", 0), (42, "head"), (42, "dropout")]
    draws = np.stack([stream(*parts).standard_normal(n) for parts in streams])  # (streams, n)
    correlation = np.corrcoef(draws)
    apart = correlation[~np.eye(len(streams), dtype=bool)]
    assert np.abs(apart).max() < 6 / np.sqrt(n)
    assert np.abs(draws.mean(1)).max() < 6 / np.sqrt(n)


def test_a_numpy_number_in_a_name_is_the_number():
    assert stream_seed(42, "noise", np.int64(3)) == stream_seed(42, "noise", 3)
