"""Load language models: decoders (CAUSAL_LM) and encoder-decoders (SEQ_2_SEQ_LM)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.models.load import LoadedModel, first_names

if TYPE_CHECKING:
    from torch import Tensor

AUTO_CLASSES = {"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM"}
"""The class of transformers that loads each of PEFT's task types."""
WORDS = {
    "CAUSAL_LM": "a decoder (such as Gemma, Llama or GPT-2)",
    "SEQ_2_SEQ_LM": "an encoder-decoder (such as T5 or BART)",
}


def load_language_model(folder: Path, kind: str) -> LoadedModel:
    """Load a language model in float32.

    Args:
        folder: folder of the model.
        kind: PEFT's task type, a key of `AUTO_CLASSES`.

    Raises:
        Mistake: if the folder holds no such model, its weights are incomplete, or a decoder's tokens see later ones.
    """
    import torch
    import transformers
    from safetensors import SafetensorError

    auto_class = getattr(transformers, AUTO_CLASSES[kind])
    try:
        model, loading = auto_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Mistake(_not_a_model(folder, kind, error)) from None
    if missing := sorted(loading["missing_keys"]):
        raise Mistake(
            f"the weights in {folder} lack what a model for {kind} needs: {first_names(missing)}; name the folder of"
            f" {WORDS[kind]}"
        )
    if kind == "CAUSAL_LM" and sees_later_tokens(model):
        raise Mistake(
            f"{folder} holds an encoder, whose tokens see those that follow; this task needs {WORDS[kind]}"
        )
    return LoadedModel(model, train_head=False)


def outline_language_model(folder: Path, kind: str) -> LoadedModel:
    """Build a language model on the meta device, without loading weights.

    Raises:
        Mistake: if the folder holds no such model.
    """
    import torch
    import transformers

    try:
        with torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(folder)
            model = getattr(transformers, AUTO_CLASSES[kind]).from_config(config)
    except (OSError, ValueError) as error:
        raise Mistake(_not_a_model(folder, kind, error)) from None
    return LoadedModel(model, train_head=False)


def sees_later_tokens(model: Any) -> bool:
    """Return whether the logits of the first token depend on the last one, as an encoder's do."""
    import torch

    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    tokens = torch.tensor([[1, 2, 3], [1, 2, 4]], device=model.device) % vocabulary
    training = model.training
    with torch.no_grad():
        first = model.eval()(input_ids=tokens).logits[:, 0].float()
    model.train(training)
    return not torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-3)


def generate(model: Any, prompt: Mapping[str, Tensor], tokenizer: Any, max_new_tokens: int) -> Tensor:
    """Generate token ids (n, tokens) greedily; a text stops at the tokenizer's or the model's end of text.

    No more tokens are generated than the model has positions.

    Args:
        model: a language model.
        prompt: `input_ids` and `attention_mask` (n, tokens); a decoder's are padded at the left.
        tokenizer: the model's tokenizer.
        max_new_tokens: largest number of new tokens.
    """
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if limit is not None and not model.config.is_encoder_decoder:
        max_new_tokens = max(1, min(max_new_tokens, limit - prompt["input_ids"].shape[1]))
    tokens: Tensor = model.generate(
        **prompt,
        max_new_tokens=max_new_tokens,
        max_length=None,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end_tokens(model, tokenizer) or None,
    )
    return tokens


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end a text: the tokenizer's, and those of the model's generation config."""
    ends = model.generation_config.eos_token_id
    return sorted({*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None})


def takes(model: Any, argument: str) -> bool:
    """Return whether a model's forward pass has an argument of this name."""
    return argument in inspect.signature(model.forward).parameters


def _not_a_model(folder: Path, kind: str, error: Exception) -> str:
    if "Unrecognized configuration class" in str(error):
        return f"{folder} holds another kind of model; this task needs {WORDS[kind]}"
    return f"{folder} holds no model for {kind} ({reason_of(error)}); this task needs {WORDS[kind]}"
