"""How much of a server's pace do the stress tests use? Through Inspect with all that is kept, and the bare SDK.

    python benchmarks/stress.py --out docs/results/stress-throughput.json

A fake Messages API on loopback, in a process of its own, takes 200 ms a reply. Ideal is that time x requests /
connections. Both ask the same questions in turns, in one process; a run of ours is timed from its first reply to its
last (`asking`), and whole, with what comes before and after (`whole`). An idle machine is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from lowland.ground.provenance import code, machine
from lowland.stress.asking.run import run_stress
from lowland.stress.asking.settings import StressAsked
from lowland.stress.progress import Progress
from lowland.stress.questions.questionnaire import Question, Questionnaire, questions

SERVER = Path(__file__).parents[1] / "tests" / "stress" / "asking" / "messages_api.py"
MODEL = "claude-sonnet-5"


class Clock(Progress):
    """Notes when each reply came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []

    def step(self) -> None:
        """One more."""
        self.came.append(time.perf_counter())


@contextlib.contextmanager
def server(delay: float) -> Iterator[str]:
    """The address of a server that takes so many seconds a reply."""
    command = [sys.executable, str(SERVER), "--delay", str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def through_inspect(url: str, what: Questionnaire, connections: int) -> dict[str, float]:
    """Seconds of a whole run, new each time, and of its asking."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        asked = StressAsked(
            what=what,
            model=f"anthropic/{MODEL}",
            base_url=url,
            epochs=1,
            max_connections=connections,
            out=out,
        )
        started = time.perf_counter()
        run_stress(asked, progress=clock)
        whole = time.perf_counter() - started
    return {"asking": clock.came[-1] - clock.came[0], "whole": whole}


def bare(url: str, put: list[Question], connections: int) -> float:
    """Seconds from the first reply to the last with the SDK alone, whose replies are thrown away."""
    from anthropic import AsyncAnthropic

    came: list[float] = []

    async def ask_all() -> None:
        turns = asyncio.Semaphore(connections)
        async with AsyncAnthropic(base_url=url, max_retries=0) as client:

            async def ask(one: Question) -> None:
                async with turns:
                    messages: Any = [{"role": "user", "content": one.text}]
                    await client.messages.create(
                        model=MODEL, max_tokens=512, system=one.system or "", messages=messages
                    )
                    came.append(time.perf_counter())

            await asyncio.gather(*map(ask, put))

    asyncio.run(ask_all())
    return came[-1] - came[0]


def main() -> None:
    """Measure, print a table, write the figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--items", type=int, default=50, help="items; each is asked in 17 conditions")
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--delay", type=float, default=0.2, help="seconds that a reply takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures and the environment as JSON")
    given = parser.parse_args()
    os.environ.setdefault("ANTHROPIC_API_KEY", "none-is-needed")
    what = Questionnaire(limit=given.items, mitigations=("none",))
    put = questions(what)
    ideal = given.delay * (len(put) - 1) / given.connections
    seconds: dict[str, list[float]] = {"bare SDK": [], "lowland": [], "lowland, whole": []}
    with server(given.delay) as url:
        for _ in range(given.rounds):
            seconds["bare SDK"].append(bare(url, put, given.connections))
            found = through_inspect(url, what, given.connections)
            seconds["lowland"].append(found["asking"])
            seconds["lowland, whole"].append(found["whole"])
    shares = {name: round(ideal / median(values), 3) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:15}{median(values):8.2f} s  {shares[name]:6.1%} of ideal")
    row = {
        "requests": len(put),
        "connections": given.connections,
        "delay": given.delay,
        "rounds": given.rounds,
    }
    row |= {"ideal_seconds": ideal, "share_of_ideal": shares}
    row["seconds"] = {name: [round(one, 3) for one in values] for name, values in seconds.items()}
    if given.out is not None:
        told = {
            "benchmark": "stress",
            "environment": machine("inspect-ai", "anthropic"),
            "code": code(),
            "rows": [row],
        }
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
