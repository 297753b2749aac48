"""Connection to a Ray cluster, or to a Ray that is started here for one study; it prints and reports nothing."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.runtime import environment_with
from lowland.study.engines.local import cores_here

LOCAL = "local"
"""Address that starts Ray on this machine, for this study."""
CONNECT_SECONDS, ANSWER_SECONDS = 5, 10
"""Seconds that an address may take to accept a connection, and then to answer as Ray does."""
ANSWERS = """
import sys
try:
    from ray._raylet import GcsClient
except ImportError:  # a private name, of no other use here
    raise SystemExit
print("ready", flush=True)
GcsClient(address=sys.argv[1])
"""
"""Program that ends well if Ray answers at an address; it writes a line before it asks. `ray.init` waits minutes."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Environment in which Ray reports no usage, and prints no logs of its nodes. Ray reads it when it is imported."""
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Environment in which a Ray that is started here listens to this machine only; its name is of older days."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to Ray for a block, or start it; a connection that exists already is used, and stays.

    Raises:
        Mistake: if Ray is not installed, or does not answer.
    """
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    with environment_with(**QUIET, **(ON_LOOPBACK if address == LOCAL else {})):
        try:
            import ray
        except ImportError:
            raise Mistake("--engine ray needs the package ray; pip install 'lowland[ray]'") from None
        if ray.is_initialized():
            yield
            return
        check_answer(address)
        with _own_signals():
            _initialise(address)
        try:
            yield
        finally:
            ray.shutdown()


def _initialise(address: str) -> None:
    import ray

    cores = cores_here() if address == LOCAL else None
    try:
        ray.init(
            address, num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    except ConnectionError:
        raise Mistake(
            "no Ray cluster runs on this machine; start one with `ray start --head`, or leave --ray-address out to"
            " start Ray for this study"
        ) from None
    except (Exception, SystemExit) as error:
        raise Mistake(
            f"Ray at {address} cannot be used ({reason_of(error)}); see whether it runs, in the same versions of Ray"
            " and Python as here"
        ) from error


def check_answer(address: str) -> None:
    """Check that Ray answers at an address; "auto" and "local" need no check.

    Raises:
        Mistake: if it does not.
    """
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise Mistake(
            f"ray_address is {address}; give host:port of a cluster's head, or auto on a machine of the cluster"
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        reason = _problem_at(address)
    except (OSError, OverflowError) as error:
        reason = str(error)
    if reason:
        raise Mistake(
            f"no Ray cluster answers at {address} ({reason}); start one with `ray start --head`, or leave --ray-address"
            " out to start Ray on this machine"
        )


def _problem_at(address: str) -> str:
    """Return why what listens at an address does not answer as Ray does; "" if it does."""
    program, pipe = [sys.executable, "-c", ANSWERS, address], subprocess.PIPE
    with subprocess.Popen(program, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # to import Ray may take long
        try:
            _, errors = process.communicate(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return "what listens there does not answer as Ray does"
    lines = errors.strip().splitlines() or [f"exit code {process.returncode}"]
    return lines[-1][:300] if process.returncode else ""


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
