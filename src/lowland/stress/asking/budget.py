"""What asking costs: counted and estimated before, agreed to, and stopped where the user said so."""

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
"""Providers that run on one's own machines: nobody is paid."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
ASK_FROM = 500
"""So many requests to a paid provider are made without a question."""
FRAME = 20
"""Tokens that a provider adds to a request, about."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes at most, but for what is asked again after an error.

    Attributes:
        requests: one a question and epoch.
        input_tokens: from the texts' lengths.
        output_tokens: if every reply is as long as it may be.
        dollars: None where no price is known.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    dollars: float | None


class Stopped(Exception):
    """A question that was not asked."""

    SIGN = "not asked: "

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.SIGN}{reason}")


def is_paid(model: str, base_url: str | None = None) -> bool:
    """Whether asking a model costs money: not on one's own machine. Where nobody can tell, it does."""
    if model.partition("/")[0] in LOCAL:
        return False
    return base_url is None or (urlsplit(base_url).hostname or "") not in LOOPBACK


def tokens_of(question: Question) -> int:
    """About how many tokens a question has with its system prompt: a third of its bytes of UTF-8.

    That is more than English takes (a quarter), and about what Devanagari takes: one a letter.
    """
    return tokens_of_text(question.text + (question.system or ""))


def tokens_of_text(text: str) -> int:
    """About how many tokens a request of so much text has; see `tokens_of`."""
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 3) + FRAME


def estimate(asked: Iterable[Question], epochs: int, max_tokens: int, price: Price | None) -> Estimate:
    """What asking takes at most."""
    return _estimate([tokens_of(one) for one in asked] * epochs, max_tokens, price)


def estimate_texts(texts: Iterable[str], max_tokens: int, price: Price | None = None) -> Estimate:
    """What asking takes at most, once for each text."""
    return _estimate([tokens_of_text(one) for one in texts], max_tokens, price)


def _estimate(tokens: Sequence[int], max_tokens: int, price: Price | None) -> Estimate:
    into, out = sum(tokens), len(tokens) * max_tokens
    return Estimate(len(tokens), into, out, None if price is None else price.of(into, out))


def agree(
    cost: Estimate, model: str, *, yes: bool, confirm: Callable[[str], bool] | None, left: int | None = None
) -> None:
    """Have the user agree to more than `ASK_FROM` requests that cost money.

    Args:
        cost: of the whole run.
        model: that is paid for.
        yes: it was agreed to beforehand.
        confirm: puts a question and says whether the answer was yes; None where nobody can be asked.
        left: how many requests will be made, where it is not all of them.

    Raises:
        Mistake: if nobody agreed; nothing has been asked then.
    """
    requests = cost.requests if left is None else min(left, cost.requests)
    if yes or requests <= ASK_FROM:
        return
    share = requests / cost.requests
    words = (
        f"{requests:,} requests to {model}, about {share * cost.input_tokens:,.0f} tokens sent and at most"
    )
    words += f" {share * cost.output_tokens:,.0f} received"
    words += (
        ", price not known"
        if cost.dollars is None
        else f", at most ${share * cost.dollars:,.2f} by your prices"
    )
    if confirm is None:
        raise Mistake(f"{words}; give --yes to agree, or --limit or --max-requests to ask less")
    if not confirm(f"{words}. Ask?"):
        raise Mistake(f"{words}: not agreed to, and nothing was asked")


def on_terminal() -> Callable[[str], bool] | None:
    """Asks the user on the terminal; None where there is none."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def confirm(question: str) -> bool:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().casefold() in ("y", "yes")

    return confirm


class Gate:
    """Lets questions through until the budget is spent or asking has become pointless.

    What was spent is kept in a file, a line an event, written at once: a run that was killed and goes on counts what it
    spent before. A question is counted with the most that it can cost before it is sent, and with what it did cost
    when the reply is there; so the budget is kept to, up to the error of the estimated lengths of the questions in
    flight, and to what a provider repeats by itself: that is counted when it is known.

    Args:
        ledger: the file; None keeps nothing.
        max_requests: requests that may be made.
        max_cost: US dollars that may be spent.
        price: of a token.
        max_tokens: the longest reply.
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
        self.max_requests, self.max_cost, self.price, self.max_tokens = (
            max_requests,
            max_cost,
            price,
            max_tokens,
        )
        self.reason: str | None = None
        self._file: TextIO | None
        self.spent: Counter[str] = Counter() if ledger is None else _read_ledger(ledger)
        self._ledger, self._file = ledger, None

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def ask(self, tokens: int) -> None:
        """Count a question of about so many tokens, which is about to be asked.

        Raises:
            Stopped: if it may not be asked.
        """
        worst = self._dollars(tokens, self.max_tokens)
        if (
            self.reason is None
            and self.max_requests is not None
            and self.spent["requests"] >= self.max_requests
        ):
            self.stop(f"--max-requests {self.max_requests} is reached")
        if (
            self.reason is None
            and self.max_cost is not None
            and self.spent["dollars"] + worst > self.max_cost
        ):
            self.stop(f"--max-cost {self.max_cost:g} is reached")
        if self.reason is not None:
            raise Stopped(self.reason)
        self._note(requests=1, dollars=worst)

    def answered(self, tokens: int, usage: tuple[int, int] | None, *, told: bool = True) -> None:
        """Count what came back for a question of about so many tokens.

        Args:
            tokens: as they were given to `ask`.
            usage: tokens sent and received as the provider counts them, if it does.
            told: whether that was a reply; a question without one may be asked again.
        """
        into, out = usage or (0, 0)
        change = 0.0
        if usage is not None:
            change = self._dollars(into, out) - self._dollars(tokens, self.max_tokens)
        self._note(answered=int(told), input_tokens=into, output_tokens=out, dollars=change)

    def repeated(self, requests: int) -> None:
        """Count requests that the connection made again by itself."""
        if requests:
            self._note(requests=requests)

    def stop(self, reason: str) -> None:
        """Let no more questions through."""
        self.reason = self.reason or reason

    def _dollars(self, into: int, out: int) -> float:
        return 0.0 if self.price is None else self.price.of(into, out)

    def _note(self, **change: float) -> None:
        for name, value in change.items():
            self.spent[name] += value  # type: ignore[assignment]  # dollars are no whole numbers
        if self._ledger is not None and self._file is None:
            self._ledger.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._ledger.open("a", encoding="utf-8")
            if self._file.tell():
                self._file.write("\n")  # after a line that a kill may have cut off
        if self._file is not None:
            self._file.write(json.dumps(change) + "\n")
            self._file.flush()


def _read_ledger(path: Path) -> Counter[str]:
    """The sums of a ledger; a last line that was cut off by a kill does not count."""
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
