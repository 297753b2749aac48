"""Benchmark of the stress tests: which share of a server's pace do they reach, compared with the bare SDK?

    python benchmarks/stress.py --out docs/results/stress-throughput.json

A fake Messages API on loopback, in a process of its own, takes 200 ms per reply. The ideal time is that delay times the
number of requests, divided by the number of connections. Lowland and the bare SDK ask the same questions in turns, in
one process. A run of lowland is timed twice: from its first reply to its last ("asking"), and from start to end
("whole"). Run it on an idle machine.
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

from lowland.ground.progress import Bar, Progress
from lowland.ground.provenance import code, machine
from lowland.stress.asking.run import run_stress
from lowland.stress.asking.settings import AskingSettings
from lowland.stress.questions.questionnaire import MessyQuestionnaire, Question

SERVER = Path(__file__).parents[1] / "tests" / "stress" / "asking" / "messages_api.py"
MODEL = "claude-sonnet-5"


class Clock(Progress):
    """Progress that records when each reply arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[float] = []

    def bar(self, total: int, *, unit: str = "questions", label: str = "") -> Bar:
        """Return a bar that records the time of each step."""
        return ClockBar(self, total, unit, label)


class ClockBar(Bar):
    """Bar whose steps are replies."""

    progress: Clock

    def step(self, count: int = 1) -> None:
        """Record the time of a reply."""
        self.progress.arrivals += [time.perf_counter()] * count


@contextlib.contextmanager
def server(delay: float) -> Iterator[str]:
    """Start a server that takes `delay` seconds per reply, and yield its address."""
    command = [sys.executable, str(SERVER), "--delay", str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def time_lowland(url: str, questionnaire: MessyQuestionnaire, connections: int) -> dict[str, float]:
    """Return the seconds of a new run: of its asking, and of the whole run."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        settings = AskingSettings(
            model=f"anthropic/{MODEL}", base_url=url, epochs=1, max_connections=connections, out=out
        )
        started = time.perf_counter()
        run_stress(questionnaire, settings, progress=clock)
        whole = time.perf_counter() - started
    return {"asking": clock.arrivals[-1] - clock.arrivals[0], "whole": whole}


def time_bare_sdk(url: str, questions: list[Question], connections: int) -> float:
    """Return the seconds from the first reply to the last with the SDK alone, which discards the replies."""
    from anthropic import AsyncAnthropic

    arrivals: list[float] = []

    async def ask_all() -> None:
        semaphore = asyncio.Semaphore(connections)
        async with AsyncAnthropic(base_url=url, max_retries=0) as client:

            async def ask(question: Question) -> None:
                async with semaphore:
                    messages: Any = [{"role": "user", "content": question.text}]
                    await client.messages.create(
                        model=MODEL, max_tokens=512, system=question.system or "", messages=messages
                    )
                    arrivals.append(time.perf_counter())

            await asyncio.gather(*map(ask, questions))

    asyncio.run(ask_all())
    return arrivals[-1] - arrivals[0]


def measure(
    url: str, questionnaire: MessyQuestionnaire, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return the seconds of each round, by what was timed."""
    questions = questionnaire.questions()
    seconds: dict[str, list[float]] = {"bare SDK": [], "lowland": [], "lowland, whole": []}
    for _ in range(options.rounds):
        seconds["bare SDK"].append(time_bare_sdk(url, questions, options.connections))
        run = time_lowland(url, questionnaire, options.connections)
        seconds["lowland"].append(run["asking"])
        seconds["lowland, whole"].append(run["whole"])
    return seconds


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--items", type=int, default=50, help="items; each is asked in 17 conditions")
    parser.add_argument("--connections", type=int, default=10, help="requests at a time")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds per reply of the server")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; the median counts")
    parser.add_argument("--out", type=Path, help="write the figures and the environment to this JSON file")
    return parser.parse_args()


def main() -> None:
    """Measure, print a table, and write the figures."""
    options = parse_options()
    os.environ.setdefault("ANTHROPIC_API_KEY", "none-is-needed")
    questionnaire = MessyQuestionnaire(limit=options.items, mitigations="none")
    requests = len(questionnaire.questions())
    ideal = options.delay * (requests - 1) / options.connections
    with server(options.delay) as url:
        seconds = measure(url, questionnaire, options)
    shares = {name: round(ideal / median(values), 3) for name, values in seconds.items()}
    for name, values in seconds.items():
        print(f"{name:15}{median(values):8.2f} s  {shares[name]:6.1%} of ideal")
    if options.out is not None:
        row = {
            "requests": requests,
            "connections": options.connections,
            "delay": options.delay,
            "rounds": options.rounds,
            "ideal_seconds": ideal,
            "share_of_ideal": shares,
            "seconds": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
        }
        figures = {
            "benchmark": "stress",
            "environment": machine("inspect-ai", "anthropic"),
            "code": code(),
            "rows": [row],
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
