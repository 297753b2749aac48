"""GGUF files, the format of llama.cpp: what is known of one, and what its header says."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, reason_of

SUFFIX = ".gguf"
UNNAMED = "an unnamed quantisation"
UNQUANTISED = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""File types that are stored as they are, with their dtype; quantised ones are stored in bfloat16."""


@dataclass(frozen=True)
class GgufFile:
    """GGUF file.

    Attributes:
        name: name or file under which the model can be found again.
        sha256: hash of the whole file.
        origin: where it came from, for the record.
        label: beginning of the title: "LABEL, dequantised from Q4_K_M".
        terms: terms of use that a person should know before the first use.
    """

    name: str
    sha256: str
    origin: str
    label: str
    terms: str | None = None

    def title(self, file_type: str) -> str:
        """Return what reports call the model."""
        return f"{self.label}, {'converted' if file_type in UNQUANTISED else 'dequantised'} from {file_type}"


@dataclass(frozen=True)
class Header:
    """Header of a GGUF file.

    Attributes:
        architecture: llama.cpp's name of the architecture.
        file_type: llama.cpp's name of the quantisation, such as Q4_K_M.
        size: bytes of the whole file.
    """

    architecture: str
    file_type: str
    size: int

    @property
    def dtype(self) -> str:
        """Name of the dtype that the weights are stored in after conversion."""
        return UNQUANTISED.get(self.file_type, "bfloat16")

    @property
    def needed_bytes(self) -> int:
        """Bytes that a conversion needs on the disk, at most: for the file joined from parts, and the weights."""
        bits = re.search(r"Q(\d)", self.file_type)  # per weight; some layers have more
        growth = 16 / (int(bits[1]) if bits else 4)
        return round(self.size * (1 + (1 if self.file_type in UNQUANTISED else growth)))


def read_header(file: GgufFile, parts: Sequence[Path]) -> Header:
    """Read the header, without the weights.

    Raises:
        Mistake: if it cannot be read, or the package `gguf` is missing.
    """
    if importlib.util.find_spec("gguf") is None:
        raise Mistake(f"{file.name} needs the package gguf; pip install 'lowland[gemma]'")
    from transformers.integrations.gguf.reader import read_gguf_metadata

    first = str(parts[0])
    try:
        metadata, _ = read_gguf_metadata(first)
    except Exception as error:  # a damaged or foreign file makes the reader raise errors of many kinds
        reason = reason_of(error).replace(first, "it").rstrip(".")
        raise Mistake(f"{file.name} cannot be read as a GGUF file ({reason}); download it again") from None
    split = metadata.get("split.count")
    if isinstance(split, int) and split > 1:
        raise Mistake(
            f"{file.name} is one of {split} files of a model; join them with llama.cpp's"
            " `llama-gguf-split --merge`, and name the joined file"
        )
    return Header(
        architecture=str(metadata["general.architecture"]),
        file_type=_name_of_type(metadata.get("general.file_type")),
        size=sum(part.stat().st_size for part in parts),
    )


def _name_of_type(number: Any) -> str:
    from gguf import LlamaFileType

    if not isinstance(number, int) or number not in set(LlamaFileType) - {LlamaFileType.GUESSED}:
        return UNNAMED
    return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
