"""Turn a GGUF file, the format of llama.cpp, into the folder of a Hugging Face model, once.

The folder stands in the cache. Its weights are the file's, dequantised: they are not those of the model that the file
was quantised from, so the model has a title that says so.
"""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lowland.ground.cache_folder import cache_folder
from lowland.ground.mistakes import Mistake, reason_of
from lowland.ground.progress import Progress
from lowland.models.cache import made_once
from lowland.models.gguf_file import GgufFile, Header, read_header
from lowland.models.load import first_names
from lowland.models.source import DEQUANTISED_FROM, ModelSource, files_hash, weights_hash

REPORT_SECONDS = 10.0
"""Seconds between two lines that say that a stage goes on."""
LOCAL_KEYS = {
    "config.json": ("_model_name_or_path", "_name_or_path", "transformers_version"),
    "tokenizer_config.json": ("is_local", "local_files_only", "name_or_path"),
}
"""Entries that depend on the machine or on the library's version; without them, equal models have equal hashes."""


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
        header = read_header(file, parts)

        def make(partial: Path) -> None:
            progress.say(f"converting {file.title(header.file_type)}, once, into {folder}")
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
        title=file.title(made["file_type"]),
        terms=file.terms,
    )


def _is_intact(folder: Path) -> bool:
    """Return whether the folder holds what was written into it, by SHA-256 of weights, config and tokenizer."""
    try:
        made = json.loads((folder / DEQUANTISED_FROM).read_text(encoding="utf-8"))
        hashes = (made["weights_sha256"], made["files_sha256"])
        return isinstance(made["file_type"], str) and hashes == (weights_hash(folder), files_hash(folder))
    except (OSError, ValueError, LookupError, TypeError):  # Mistake is a ValueError
        return False


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
        tokenizer = _load_tokenizer(file, whole, model.get_input_embeddings().num_embeddings)
    with _stage("writing the converted model", progress):
        _save(model, folder)
        tokenizer.save_pretrained(folder)
        shutil.rmtree(whole.parent)
        _remove_local_keys(folder)
        content = _describe(file, header, folder)
        (folder / DEQUANTISED_FROM).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _stage(words: str, progress: Progress) -> Iterator[None]:
    """Say when a stage begins, from time to time that it goes on, and how long it took.

    transformers is silent for most of that time. Its bars, which cannot be turned off, are hidden.
    """
    progress.say(f"  {words} …")
    started, ended = time.perf_counter(), threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            progress.say(f"  {words}: {time.perf_counter() - started:.0f} s so far")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        ended.set()
        reporter.join()
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
        _check_undamaged(file, whole)
        raise Mistake(_unreadable(file, header, reason_of(error))) from None
    if missing := sorted(loading["missing_keys"]):
        raise Mistake(_unreadable(file, header, f"it lacks {first_names(missing)}"))
    return model


def _load_tokenizer(file: GgufFile, whole: Path, rows: int) -> Any:
    """Read the tokenizer, which may not have more tokens than the model has rows of embeddings."""
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(whole.parent, gguf_file=whole.name)
        reason = f"it has {len(tokenizer)} tokens, and the model has embeddings for {rows}"
    except Exception as error:
        tokenizer, reason = None, reason_of(error)
    if tokenizer is None or len(tokenizer) > rows:
        raise Mistake(
            f"transformers cannot read the tokenizer in {file.name} ({reason}); give a folder that holds the model"
        )
    return tokenizer


def _check_undamaged(file: GgufFile, whole: Path) -> None:
    """Check that the package `gguf` can read all of a file that transformers could not read."""
    from gguf import GGUFReader

    try:
        GGUFReader(whole)
    except Exception as error:
        raise Mistake(
            f"{file.name} is damaged, or newer than the installed package gguf ({reason_of(error)}); download it again,"
            " or upgrade gguf"
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
        "title": file.title(header.file_type),
        "terms": file.terms,
        "gguf_sha256": file.sha256,
        "file_type": header.file_type,
        "dtype": header.dtype,
        "weights_sha256": weights_hash(folder),
        "files_sha256": files_hash(folder),
        "versions": {name: version(name) for name in ("gguf", "torch", "transformers")},
    }
