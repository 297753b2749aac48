"""Model on this disk: its folder, its hashes, and what it is called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake

TOKENIZER_FILES = (
    "tokenizer",
    "vocab",
    "merges",
    "special_tokens",
    "added_tokens",
    "spiece",
    "sentencepiece",
    "preprocessor_config",
)
"""Beginnings of the names of files of a tokenizer, or of an image processor."""

DEQUANTISED_FROM = "dequantised_from.json"
"""File in the folder of a converted GGUF file that says what it was converted from."""


@dataclass(frozen=True)
class ModelSource:
    """Model on this disk.

    Attributes:
        name: name, folder or file under which it can be found again.
        folder: folder with its files.
        origin: "folder", "hub", the package that it came from, or "GGUF file" with the beginning of its SHA-256.
        revision: commit on the hub, if it came from there.
        sha256: hash of its weights; several files are hashed in the order of their names.
        files_sha256: hash of its config, and of its tokenizer or image processor.
        title: what reports call it; the name, except for a model that was dequantised.
        terms: terms of use that a person should know, with their address; None if lowland knows of none.
    """

    name: str
    folder: Path
    origin: str
    revision: str | None
    sha256: str
    files_sha256: str
    title: str
    terms: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return the entry for a record: plain values; title and terms only if they say more than the name."""
        named = (
            {"title": self.title, "terms": self.terms}
            if (self.title, self.terms) != (self.name, None)
            else {}
        )
        return {
            "name": self.name,
            **named,
            "origin": self.origin,
            "revision": self.revision,
            "sha256": self.sha256,
            "files_sha256": self.files_sha256,
        }


@contextmanager
def named_by(source: ModelSource) -> Iterator[None]:
    """Let mistakes name a model as the user did, instead of the folder that it was found in."""
    try:
        yield
    except Mistake as mistake:
        problems = [problem.replace(str(source.folder), source.name) for problem in mistake.problems]
        raise Mistake(*problems) from mistake


def source_in(folder: Path, name: str, origin: str, revision: str | None = None) -> ModelSource:
    """Return the model in a folder, with its hashes. A converted GGUF file has its own title and terms.

    Raises:
        Mistake: if the folder lacks a config or weights.
    """
    sha256, files_sha256 = weights_hash(folder), files_hash(folder)
    title, terms = _title_and_terms(folder, name)
    return ModelSource(name, folder, origin, revision, sha256, files_sha256, title, terms)


def weights_hash(folder: Path) -> str:
    """Return SHA-256 of a model's weights: of the one file, or of all files' hashes in the order of their names.

    Raises:
        Mistake: if the folder lacks a config or weights.
    """
    if not (folder / "config.json").is_file():
        raise Mistake(f"{folder} holds no config.json; name the folder of a Hugging Face model")
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise Mistake(f"{folder} holds no weights (*.safetensors); name a folder with a whole model")
    hashes = [hash_of([path]) for path in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def files_hash(folder: Path) -> str:
    """Return SHA-256 of a model's config, and of its tokenizer or image processor.

    The files' names and contents are hashed, sorted by name.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name == "config.json" or path.name.startswith(TOKENIZER_FILES):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def hash_of(parts: Iterable[Path]) -> str:
    """Return SHA-256 of a file, or of the file that several parts make when they are joined."""
    digest = hashlib.sha256()
    for path in parts:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _title_and_terms(folder: Path, name: str) -> tuple[str, str | None]:
    try:
        content = json.loads((folder / DEQUANTISED_FROM).read_text(encoding="utf-8"))
        return str(content["title"]), content["terms"]
    except (OSError, ValueError, LookupError, TypeError):
        return name, None
