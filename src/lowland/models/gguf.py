"""Turn a GGUF file, the format of llama.cpp, into the folder of a Hugging Face model, once.

The folder stands in the cache. Its weights are the file's, dequantised: they are not those of the model that the file
was quantised from, so the model has a title that says so.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.progress import Progress
from lowland.models.cache import cache_folder, made_once
from lowland.models.load import first_names
from lowland.models.source import DEQUANTISED_FROM, ModelSource, files_hash, weights_hash

SUFFIX = ".gguf"
UNNAMED = "an unnamed quantisation"
UNQUANTISED = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""File types that are stored as they are, with their dtype; quantised ones are stored in bfloat16."""
LOCAL_KEYS = {
    "config.json": ("_model_name_or_path", "_name_or_path", "transformers_version"),
    "tokenizer_config.json": ("is_local", "local_files_only", "name_or_path"),
}
"""Entries that depend on the machine or on the library's version; without them, equal models have equal hashes."""


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


def converted(file: GgufFile, locate: Callable[[], Sequence[Path]], progress: Progress) -> ModelSource:
    """Return the model of a GGUF file, converted to a Hugging Face folder in the cache if it is not there yet.

    Args:
        file: what is known of the file.
        locate: returns the file, or the parts that make it when they are joined; called only to convert it.
        progress: names the terms of use, and reports the conversion.

    Raises:
        Mistake: if the file is missing, damaged, or of an architecture that transformers cannot read; if the package
            `gguf` is missing; or if the cache folder cannot be written.
    """
    folder = cache_folder() / f"gguf-{file.sha256[:16]}"
    if not _is_intact(folder):
        if file.terms is not None:
            progress.say(f"{file.label} may be used under these terms: {file.terms}")
        parts = locate()
        header = _read_header(file, parts)

        def make(partial: Path) -> None:
            progress.say(f"converting {_title(file, header.file_type)}, once, into {folder}")
            _convert(file, parts, header, partial, progress)

        made_once(folder.name, make, _is_intact, size=header.needed_bytes, progress=progress)
    made = json.loads((folder / DEQUANTISED_FROM).read_text(encoding="utf-8"))
    return ModelSource(
        name=file.name,
        folder=folder,
        origin=file.origin,
        revision=None,
        sha256=made["weights_sha256"],
        files_sha256=made["files_sha256"],
        title=_title(file, made["file_type"]),
        terms=file.terms,
    )


def _title(file: GgufFile, file_type: str) -> str:
    return f"{file.label}, {'converted' if file_type in UNQUANTISED else 'dequantised'} from {file_type}"


def _is_intact(folder: Path) -> bool:
    """Return whether the folder holds what was written into it, by SHA-256 of weights, config and tokenizer."""
    try:
        made = json.loads((folder / DEQUANTISED_FROM).read_text(encoding="utf-8"))
        hashes = (made["weights_sha256"], made["files_sha256"])
        return isinstance(made["file_type"], str) and hashes == (weights_hash(folder), files_hash(folder))
    except (OSError, ValueError, LookupError, TypeError):  # Mistake is a ValueError
        return False


def _read_header(file: GgufFile, parts: Sequence[Path]) -> Header:
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
        reason = reason_of(error).replace(first, "it")
        raise Mistake(f"{file.name} is no GGUF file, or damaged ({reason}); download it again") from None
    if metadata.get("split.count", 1) > 1:
        raise Mistake(
            f"{file.name} is one of {metadata['split.count']} files of a model; join them with llama.cpp's"
            " `llama-gguf-split --merge`, and name the joined file"
        )
    return Header(
        architecture=str(metadata["general.architecture"]),
        file_type=_name_of_type(metadata.get("general.file_type")),
        size=sum(part.stat().st_size for part in parts),
    )


def _name_of_type(number: Any) -> str:
    from gguf import LlamaFileType

    if number not in set(LlamaFileType) - {LlamaFileType.GUESSED}:
        return UNNAMED
    return LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _convert(file: GgufFile, parts: Sequence[Path], header: Header, folder: Path, progress: Progress) -> None:
    """Fill a folder with the model, its tokenizer, and what they were made from.

    Raises:
        Mistake: if transformers cannot read the file.
        OSError: if the folder cannot be written.
    """
    whole = _one_file(parts, folder / "source")
    with _stage("reading the weights", progress):
        model = _load_model(file, header, whole)
    with _stage("reading the tokenizer", progress):
        tokenizer = _load_tokenizer(file, whole)
    with _stage("writing the converted model", progress):
        _save(model, folder)
        tokenizer.save_pretrained(folder)
        shutil.rmtree(whole.parent)
        _remove_local_keys(folder)
        content = _describe(file, header, folder)
        (folder / DEQUANTISED_FROM).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _stage(words: str, progress: Progress) -> Iterator[None]:
    """Say when a stage begins and how long it took; bars of transformers, which cannot be turned off, are hidden."""
    progress.say(f"  {words} …")
    started = time.perf_counter()
    with redirect_stderr(io.StringIO()):
        yield
    progress.say(f"  {words}: {time.perf_counter() - started:.0f} s")


def _one_file(parts: Sequence[Path], folder: Path) -> Path:
    """Return the file in a folder of its own, in which transformers sees no other files: a link, or joined parts."""
    folder.mkdir()
    whole = folder / "model.gguf"
    if len(parts) == 1:
        whole.symlink_to(parts[0].resolve())
        return whole
    with whole.open("wb") as joined:
        for part in parts:
            with part.open("rb") as opened:
                shutil.copyfileobj(opened, joined, 1 << 20)
    return whole


def _load_model(file: GgufFile, header: Header, whole: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, GgufConfig

    try:
        config = AutoConfig.from_pretrained(whole.parent, gguf_file=whole.name)
        auto_class: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, loading = auto_class.from_pretrained(
            whole.parent,
            gguf_file=whole.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=getattr(torch, header.dtype),
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises errors of many kinds
        raise Mistake(_unreadable(file, header, reason_of(error))) from None
    if missing := sorted(loading["missing_keys"]):
        raise Mistake(_unreadable(file, header, f"it lacks {first_names(missing)}"))
    return model


def _load_tokenizer(file: GgufFile, whole: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(whole.parent, gguf_file=whole.name)
    except Exception as error:
        raise Mistake(
            f"transformers cannot read the tokenizer in {file.name} ({reason_of(error)}); give a folder that holds"
            " the model"
        ) from None


def _unreadable(file: GgufFile, header: Header, reason: str) -> str:
    return (
        f"{file.name} is a GGUF file of architecture {header.architecture}, which transformers cannot read ({reason});"
        " give a folder that holds the model"
    )


def _save(model: Any, folder: Path) -> None:
    from safetensors import SafetensorError

    try:
        model.save_pretrained(folder)
    except SafetensorError as error:  # the disk is full, for instance
        raise OSError(f"the weights cannot be written: {reason_of(error)}") from error


def _remove_local_keys(folder: Path) -> None:
    for name, keys in LOCAL_KEYS.items():
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if key not in keys}
        path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _describe(file: GgufFile, header: Header, folder: Path) -> dict[str, Any]:
    return {
        "title": _title(file, header.file_type),
        "terms": file.terms,
        "gguf_sha256": file.sha256,
        "file_type": header.file_type,
        "dtype": header.dtype,
        "weights_sha256": weights_hash(folder),
        "files_sha256": files_hash(folder),
        "versions": {name: version(name) for name in ("gguf", "torch", "transformers")},
    }
