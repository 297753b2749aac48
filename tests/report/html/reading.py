"""Reader of a page's HTML for tests: elements in order, with their attributes, texts and parents."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "img", "hr", "use"}
ENDED = {"td": ("td", "th"), "th": ("td", "th"), "tr": ("td", "th", "tr"), "/tbody": ("td", "th", "tr")}
"""Elements of a table that the beginning, or the end, of another ends, if they are open."""


@dataclass(eq=False)
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    children: list[Element] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(self.words)

    def all(self, *tags: str) -> list[Element]:
        """All elements in it with one of these tags, in order."""
        elements: list[Element] = []
        for child in self.children:
            elements += [child] if child.tag in tags or not tags else []
            elements += child.all(*tags)
        return elements

    def within(self, tag: str) -> bool:
        """Whether it stands in an element of this tag."""
        return self.parent is not None and (self.parent.tag == tag or self.parent.within(tag))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: <{tag} {attrs}>"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.open[-1])
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def _end(self, by: str) -> None:
        """End elements whose end tags HTML lets be left out."""
        while self.open[-1].tag in ENDED.get(by, ()):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("td", "th", "tr"):
            self._end(f"/{tag}")
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.words.append(data)


def read_html(text: str) -> Element:
    """The root of a page; every element must be closed, and in order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert [element.tag for element in reader.open] == ["root"]
    return reader.root


def script(root: Element, kind: str = "") -> str:
    """The text of the only script of a type."""
    (script,) = [each for each in root.all("script") if each.attributes.get("type", "") == kind]
    return script.text


def check_policy(root: Element) -> None:
    """Check that the page's policy lets its own script run, and nothing else."""
    (policy,) = [
        each.attributes["content"]
        for each in root.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    digest = base64.b64encode(hashlib.sha256(script(root).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
