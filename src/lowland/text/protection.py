"""Protection of a text's names and numbers from corruptions."""

from __future__ import annotations

import re
from collections.abc import Mapping

PROTECT: Mapping[str, tuple[bool, ...]] = {"no": (False,), "yes": (True,), "both": (False, True)}
"""Choice of a user -> whether names and numbers are protected, for each version of a text that is asked for."""

_NAME_OR_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*%?|(?<=\s)[A-Z][\w&.-]*\w")


def vital(text: str) -> tuple[str, ...]:
    """Return the parts of a text that a protected corruption spares: numbers, and capitalised words.

    The first word of the text does not count: most texts begin with a capital letter. This is a rule
    of thumb for names; a text in lower case has none.

    Examples:
        >>> vital("Sales of Nokia rose 12.5% in 2009")
        ('Nokia', '12.5%', '2009')
    """
    return tuple(dict.fromkeys(_NAME_OR_NUMBER.findall(text)))
