"""Reader of YAML: mistakes name the file and the line, and no key may occur twice in a mapping."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lowland.ground.mistakes import Mistake


def read_yaml(path: Path, kind: str) -> Any:
    """Return the content of a YAML file.

    Args:
        path: of the file.
        kind: kind of file, for the error message, such as "recipe file".

    Raises:
        Mistake: if there is no such file, or it is not YAML in UTF-8, or has a key twice in one mapping.
    """
    if path.is_dir():
        raise Mistake(f"the {kind} {path} is a folder; name a file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise Mistake(f"the {kind} {path} does not exist") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Mistake(f"the {kind} {path} is not UTF-8 in line {line}; save it as UTF-8") from None
    return parse_yaml(text, f"the {kind} {path}")


def parse_yaml(text: str, source: str) -> Any:
    """Return the content of a YAML text.

    Args:
        text: to read.
        source: that it comes from, for the error message, such as "the recipe file recipe.yaml".

    Raises:
        Mistake: if it is not YAML, or has a key twice in one mapping.
    """
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.reader.ReaderError as error:
        line, character = text[: error.position].count("\n") + 1, text[error.position]
        raise Mistake(f"{source} cannot be read as YAML: remove {character!r} from line {line}") from None
    except _KeyTwice as error:
        raise Mistake(
            f"{source}, line {error.line}: the key {error.key!r} occurs twice in one mapping; remove one"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "an unknown place"
        reason = " ".join((error.problem or error.context or "not YAML").split())
        raise Mistake(f"{source} cannot be read as YAML: {reason}, in {place}") from None
    except RecursionError:
        raise Mistake(f"{source} cannot be read as YAML: it is nested too deeply") from None


LARGEST = 100_000
"""Number of values above which a file is refused."""


class _KeyTwice(Exception):
    """Key that occurs twice in one mapping; `line` is that of the second."""

    def __init__(self, key: object, line: int) -> None:
        super().__init__(key, line)
        self.key, self.line = key, line


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, which refuses a key that occurs twice in one mapping, and what grows by its aliases."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's root."""
        root = super().get_single_node()
        if root is not None:
            self._check_size(root, {})
        return root

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of a node; what its tag's constructor cannot read is an error with a place."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:40]!r} is no valid {kind}", node.start_mark
            ) from None

    def _check_size(self, node: yaml.Node, sizes: dict[int, int]) -> int:
        """Return the number of values in a node, with its aliases written out; raise an error if there are too many.

        Nine aliases of nine aliases, and so on, are a short text and a value that fills the memory.
        """
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = LARGEST  # for an alias of what it stands in
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        size = 1 + sum(self._check_size(part, sizes) for part in inner)
        if size > LARGEST:
            raise yaml.composer.ComposerError(
                None, None, f"more than {LARGEST:,} values, or an alias of itself", node.start_mark
            )
        sizes[id(node)] = size
        return size

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        keys: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<, whose keys give way to the mapping's own
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                break  # the base class refuses it
            if key in keys:
                raise _KeyTwice(key, key_node.start_mark.line + 1)
            keys.add(key)
        return super().construct_mapping(node, deep)
