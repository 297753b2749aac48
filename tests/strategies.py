"""Strategies that the tests share: texts, tables and values that go wrong, and files with bytes changed."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any text that can be stored."""
TRICKY = (
    "\0", "\ufeff", "NaN", "nan", "Infinity", "-Infinity", "1e400", "-0", "1_000", "0x10", "1" + "0" * 30,
    "true", "null", "NA", "None", "#N/A", "../", "/", "~", "", " ", "\t", "\r", "\n", "\r\n", "\u2028", "\x1c",
    '"', '""', "'", ",", ";", "|", "\\", "{", "}", "[", "]", "<", "&a", "*a", "@", "#", "%", ":", "-", "१२",
    "!!python/object/apply:os.system", "e\u0301", "é", "\u202e", "\U0001f468\u200d\U0001f4bb", "ﷺ",
)  # fmt: skip
"""Tokens that readers trip over."""
CELLS = st.builds(" ".join, st.lists(TEXTS | st.sampled_from(TRICKY), min_size=1, max_size=4))
"""Texts that may hold separators, quotes, line ends, invisible signs, and words that mean something elsewhere."""
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**30, -(10**400), 1e308, 5e-324, 2**63, 0, -1])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS, st.sampled_from(TRICKY))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
"""What JSON and YAML can hold: scalars, lists and mappings."""

INSERTS: tuple[bytes, ...] = (
    *(token.encode() for token in TRICKY if token),
    b"\xed\xa0\x80",  # a surrogate
    b"\\ud800",
    b"\xff\xfe",
    b"1" + b"0" * 5000,
    b"[" * 3000,
    b'{"a":' * 3000,
    b"2001-99-99",
    b"&a [*a,*a]",
    b"!!int ''",
    b"!!timestamp x",
    b"<<: *a",
    b"\x80\x04\x95cposix\nsystem\n",  # a pickle
    b"PK\x03\x04",
    b"PAR1",
    b" " * 5000,
)
"""Bytes to insert."""
ALIASES = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
)
"""YAML of a few lines, whose aliases stand for a billion values."""


@st.composite
def mutated(draw: st.DrawFn, content: bytes, most: int = 3) -> bytes:
    """Return the content with some edits: bytes and bits changed, parts left out, doubled, swapped or inserted."""
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        size = draw(st.sampled_from([1, 2, 4, 16, 256, len(content)]))
        head, part, tail = content[:place], content[place : place + size], content[place + size :]
        match draw(
            st.sampled_from(["flip", "byte", "cut", "end", "double", "swap", "insert", "insert", "lines"])
        ):
            case "flip":
                content = head + bytes([(content[place] if content else 0) ^ 1 << draw(st.integers(0, 7))])
                content += part[1:] + tail
            case "byte":
                content = head + draw(st.binary(min_size=1, max_size=1)) + part[1:] + tail
            case "cut":
                content = head + tail
            case "end":
                content = head
            case "double":
                content = head + part + part + tail
            case "swap":
                content = tail + part + head
            case "insert":
                content = head + draw(st.sampled_from(INSERTS)) + part + tail
            case "lines":
                lines = content.split(b"\n")
                first, second = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
                lines[first], lines[second] = lines[second], lines[first]
                content = b"\n".join(lines)
    return content
