"""Budget of a stress test: estimate the cost, ask for the user's consent, count, and stop at the limit."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import urlsplit

from lowland.ground.mistakes import Mistake
from lowland.stress.asking.prices import Price
from lowland.stress.questions.questionnaire import Question

LOCAL = frozenset(
    {
        "lowland",
        "mockllm",
        "none",
        "hf",
        "ollama",
        "vllm",
        "sglang",
        "llama-cpp-python",
        "transformer_lens",
        "nnterp",
    }
)
"""Providers that run on the user's own machines, free of charge."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
CONSENT_ABOVE = 500
"""Largest number of requests to a paid provider that needs no consent."""
REQUEST_OVERHEAD_TOKENS = 20
"""Approximate number of tokens that a provider adds to a request."""

Confirm = Callable[[str], bool]
"""Shows a question to the user and returns whether the answer was yes."""


@dataclass(frozen=True)
class CostEstimate:
    """Estimate of what a run takes, without requests that are repeated after an error.

    Attributes:
        requests: one for each question and epoch.
        input_tokens: number of tokens sent, estimated from the lengths of the texts.
        output_tokens: number of tokens received if every reply has the maximum length.
        dollars: price of these tokens; None if no price is known.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    dollars: float | None


class Stopped(Exception):
    """Raised instead of sending a question after the budget has been stopped."""

    SIGN = "not asked: "

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.SIGN}{reason}")


def is_paid(model: str, base_url: str | None = None) -> bool:
    """Return whether requests to a model cost money.

    Models on the user's own machine are free. Every other model counts as paid, also one whose price is not known.
    """
    if model.partition("/")[0] in LOCAL:
        return False
    return base_url is None or (urlsplit(base_url).hostname or "") not in LOOPBACK


def tokens_of(question: Question) -> int:
    """Estimate the number of tokens of a question and its system prompt: a third of its bytes in UTF-8.

    That is more than English takes (a quarter), and about what Devanagari takes (one token per letter).
    """
    return tokens_of_text(question.text + (question.system or ""))


def tokens_of_text(text: str) -> int:
    """Estimate the number of tokens of a request with this text; see `tokens_of`."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 3) + REQUEST_OVERHEAD_TOKENS


def estimate(
    questions: Iterable[Question], epochs: int, max_tokens: int, price: Price | None
) -> CostEstimate:
    """Estimate the cost of questions that are each sent once per epoch, with replies of the maximum length."""
    return _estimate([tokens_of(question) for question in questions] * epochs, max_tokens, price)


def estimate_texts(texts: Iterable[str], max_tokens: int, price: Price | None = None) -> CostEstimate:
    """Estimate the cost of texts that are each sent once, with replies of the maximum length."""
    return _estimate([tokens_of_text(text) for text in texts], max_tokens, price)


def _estimate(tokens: Sequence[int], max_tokens: int, price: Price | None) -> CostEstimate:
    input_tokens, output_tokens = sum(tokens), len(tokens) * max_tokens
    dollars = None if price is None else price.of(input_tokens, output_tokens)
    return CostEstimate(len(tokens), input_tokens, output_tokens, dollars)


def require_consent(
    cost: CostEstimate, model: str, *, yes: bool, confirm: Confirm | None, left: int | None = None
) -> None:
    """Ask the user for consent to more than `CONSENT_ABOVE` paid requests.

    Args:
        cost: estimate for the whole run.
        model: name of the paid model.
        yes: consent was given beforehand.
        confirm: asks the user; None if nobody can be asked.
        left: number of requests that will be sent, if not all of them.

    Raises:
        Mistake: if there is no consent. Nothing has been sent then.
    """
    requests = cost.requests if left is None else min(left, cost.requests)
    if yes or requests <= CONSENT_ABOVE:
        return
    words = _cost_in_words(cost, model, requests)
    if confirm is None:
        raise Mistake(f"{words}; add --yes to agree, or send fewer with --limit or --max-requests")
    if not confirm(f"{words}. Send them?"):
        raise Mistake(f"{words}: not agreed to; nothing was sent")


def _cost_in_words(cost: CostEstimate, model: str, requests: int) -> str:
    share = requests / cost.requests
    words = (
        f"{requests:,} requests to {model}, about {share * cost.input_tokens:,.0f} tokens sent and at most"
        f" {share * cost.output_tokens:,.0f} received"
    )
    if cost.dollars is None:
        return f"{words}, price not known"
    return f"{words}, at most about ${share * cost.dollars:,.2f} by your prices"


def confirm_on_terminal() -> Confirm | None:
    """Return a function that asks the user a yes-or-no question on the terminal, or None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def confirm(question: str) -> bool:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")

    return confirm


class Budget:
    """Running count of requests and costs that stops a run at its limits.

    The count is kept in a file, one line per event, written at once: a run that was killed and is continued counts
    what it spent before. `reserve` counts the maximum cost of a question before it is sent, and `settle` replaces it
    by the actual cost when the reply has arrived. `allow_repetition` counts a question that is about to be sent again,
    or an unfinished reply that is about to be continued. The limits therefore hold, except for two errors: the
    estimated lengths of the questions in flight, and requests that the client of a provider without Inspect's hooks
    repeats; these are counted only afterwards.

    Args:
        ledger: the file; None keeps the count in memory only.
        max_requests: maximum number of requests.
        max_cost: maximum cost in US dollars.
        price: price of the tokens.
        max_tokens: maximum length of a reply.
    """

    def __init__(
        self,
        ledger: Path | None = None,
        *,
        max_requests: int | None = None,
        max_cost: float | None = None,
        price: Price | None = None,
        max_tokens: int = 0,
    ) -> None:
        self.max_requests, self.max_cost = max_requests, max_cost
        self.price, self.max_tokens = price, max_tokens
        self.reason: str | None = None
        """Why no more questions may be sent; None while they may."""
        self.spent: Counter[str] = Counter() if ledger is None else _read_ledger(ledger)
        self._ledger = ledger
        self._file: TextIO | None = None

    def __enter__(self) -> Budget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def reserve(self, tokens: int) -> None:
        """Count a question that is about to be sent, at its maximum cost.

        Args:
            tokens: estimated number of tokens of the question.

        Raises:
            Stopped: if the question may not be sent.
        """
        worst = self._dollars(tokens, self.max_tokens)
        if self.max_requests is not None and self.spent["requests"] >= self.max_requests:
            self.stop(f"--max-requests {self.max_requests} is reached")
        if self.max_cost is not None and self.spent["dollars"] + worst > self.max_cost:
            self.stop(f"--max-cost {self.max_cost:g} is reached")
        if self.reason is not None:
            raise Stopped(self.reason)
        self._write(requests=1, dollars=worst)

    def settle(self, tokens: int, usage: tuple[int, int] | None, *, replied: bool = True) -> None:
        """Replace the maximum cost of a question by its actual cost.

        Args:
            tokens: the estimate that was passed to `reserve`.
            usage: tokens sent and received as counted by the provider; None if it does not count them.
            replied: whether a reply came back; a question without a reply may be sent again.
        """
        input_tokens, output_tokens = usage or (0, 0)
        change = 0.0
        if usage is not None:
            change = self._dollars(input_tokens, output_tokens) - self._dollars(tokens, self.max_tokens)
        self._write(
            answered=int(replied), input_tokens=input_tokens, output_tokens=output_tokens, dollars=change
        )

    def allow_repetition(self) -> bool:
        """Return whether a failed request may be sent again, and count it if so."""
        if self.max_requests is not None and self.spent["requests"] >= self.max_requests:
            self.stop(f"--max-requests {self.max_requests} is reached")
        if self.reason is None:
            self._write(requests=1)
        return self.reason is None

    def count_retries(self, requests: int) -> None:
        """Count requests that the provider's client has repeated on its own."""
        if requests:
            self._write(requests=requests)

    def stop(self, reason: str) -> None:
        """Let no more questions be sent. The first reason is kept."""
        self.reason = self.reason or reason

    def requests_left(self, expected: int) -> int:
        """Return how many of the expected requests are still to be sent, within the limit."""
        left = max(0, expected - int(self.spent["answered"]))
        if self.max_requests is None:
            return left
        return min(left, max(0, self.max_requests - int(self.spent["requests"])))

    def _dollars(self, input_tokens: int, output_tokens: int) -> float:
        return 0.0 if self.price is None else self.price.of(input_tokens, output_tokens)

    def _write(self, **change: float) -> None:
        """Add a change to the count, and append it to the ledger."""
        for name, value in change.items():
            self.spent[name] += value  # type: ignore[assignment]  # dollars are not whole numbers
        if self._ledger is not None and self._file is None:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._ledger.open("a", encoding="utf-8")
            if self._file.tell():
                self._file.write("\n")  # the last line may have been cut off by a kill
        if self._file is not None:
            self._file.write(json.dumps(change) + "\n")
            self._file.flush()


def _read_ledger(path: Path) -> Counter[str]:
    """Return the sums of a ledger. A line that was cut off by a kill is skipped."""
    sums: Counter[str] = Counter()
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                change: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:
                continue
            for name, value in change.items():
                sums[name] += value
    return sums
