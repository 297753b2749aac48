"""Resolve a model's name to a local folder."""

from __future__ import annotations

import sys
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.models.gguf import converted
from lowland.models.gguf_file import SUFFIX, GgufFile
from lowland.models.hub import hub_reachable, reason_of_hub
from lowland.models.packages import DEFAULT_MODEL, GEMMA, GEMMA_ON_HUB, packaged_gemma, packaged_minilm
from lowland.models.source import ModelSource, hash_of, source_in

FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.bin")


def find_model(name: str, revision: str | None = None, progress: Progress | None = None) -> ModelSource:
    """Find a model by its name.

    The name is that of a folder; of a GGUF file (`.gguf`), which is converted at its first use; `gemma-3-270m`, which
    comes from a package; or of a model on the hub. The default model and `google/gemma-3-270m` come from packages where
    the hub cannot be reached.

    Args:
        name: name of the model.
        revision: revision of a model on the hub.
        progress: reports a conversion, and terms of use before it; default: on stderr.

    Raises:
        Mistake: if the model cannot be loaded; the sentence says what can be used instead.
    """
    progress, path = progress or Progress(sys.stderr), Path(name)
    if path.is_dir():
        return source_in(path, name, "folder")
    if path.suffix.lower() == SUFFIX:
        return _from_gguf(name, path.expanduser(), progress)
    if name == GEMMA and revision is None:
        return packaged_gemma(progress)
    if path.is_file():
        raise Mistake(
            f"model {name} is a file; name a folder, a file that ends in {SUFFIX}, or a model of the hub"
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise Mistake(f"model {name} is not a folder; name a folder that exists or a model of the hub")
    try:
        return _from_hub(name, revision)
    except Exception as error:
        if revision is None and not hub_reachable():
            if name == DEFAULT_MODEL:
                return packaged_minilm()
            if name == GEMMA_ON_HUB:
                return packaged_gemma(progress)
        raise Mistake(
            f"model {name} cannot be loaded from the hub ({reason_of_hub(error)}); give a folder that holds it, or a"
            f" model of the package index: {DEFAULT_MODEL}, an encoder of texts (lowland[demo]), or {GEMMA}, a decoder"
            " (lowland[gemma])"
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
    return source_in(folder, name, "hub", folder.name)


def _from_gguf(name: str, path: Path, progress: Progress) -> ModelSource:
    """Return the model in a user's own GGUF file."""
    if not path.is_file():
        raise Mistake(
            f"model {name} is not a file that exists; name a GGUF file, a folder or a model of the hub"
        )
    try:
        sha256 = hash_of([path])
    except OSError as error:
        raise Mistake(f"model {name} cannot be read ({error.strerror})") from None
    file = GgufFile(name, sha256, f"GGUF file {sha256[:16]}", path.name)
    return converted(file, lambda: [path], progress)
