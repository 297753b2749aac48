"""Reader of JSON: no key may occur twice in an object, and all that is wrong with a text is one kind of error."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from lowland.ground.mistakes import Mistake


class NotJSON(ValueError):
    """Error of a text that is not JSON.

    Attributes:
        reason: what is wrong, in a few words.
        line: number of the line, from 1 on; None if the place is unknown.
        character: number of the character in the text, from 1 on; None if the place is unknown.
    """

    def __init__(self, reason: str, line: int | None = None, character: int | None = None) -> None:
        place = "" if line is None else f", line {line}, character {character}"
        super().__init__(f"{reason}{place}")
        self.reason, self.line, self.character = reason, line, character


def parse_json(text: str, *, finite: bool = False) -> Any:
    """Parse JSON. Python's `json` keeps the last of two equal keys in silence, and raises errors of several kinds.

    Args:
        text: to parse.
        finite: whether to refuse NaN, Infinity and numbers too large for a float, none of which JSON has.

    Raises:
        NotJSON: if the text is not JSON, is nested too deeply, or has a number that cannot be read.
        Mistake: if an object has a key twice.
    """
    try:
        if not finite:
            return json.loads(text, object_pairs_hook=_with_unique_keys)
        return json.loads(
            text, object_pairs_hook=_with_unique_keys, parse_constant=_finite, parse_float=_finite
        )
    except (Mistake, NotJSON):
        raise
    except json.JSONDecodeError as error:
        raise NotJSON(error.msg, error.lineno, error.pos + 1) from None
    except RecursionError:
        raise NotJSON("it is nested too deeply") from None
    except ValueError:  # Python reads no whole number of more than 4,300 digits
        raise NotJSON("a number in it has too many digits") from None


def _with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = min(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise Mistake(f"key '{twice}' occurs twice in one object; remove one of them")
    return values


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise NotJSON(f"{number[:20]} is not a finite number")
    return float(number)
