"""Load language models: decoders (CAUSAL_LM) and encoder-decoders (SEQ_2_SEQ_LM)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowland.ground.mistakes import Mistake, reason_of
from lowland.models.load import LoadedModel, first_names, read_model_config
from lowland.models.padding import LARGEST_CHANGE

if TYPE_CHECKING:
    from torch import Tensor

AUTO_CLASSES = {"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM"}
"""The class of transformers that loads each of PEFT's task types."""
WORDS = {
    "CAUSAL_LM": "a decoder (such as Gemma, Llama or GPT-2)",
    "SEQ_2_SEQ_LM": "an encoder-decoder (such as T5 or BART)",
}
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "bad_words_ids": None,
    "exponential_decay_length_penalty": None,
}
"""Arguments of `generate` that take the most likely token at each step, whatever the model's own settings say."""

VISIBLE = 1e-4
"""Smallest change of a logit, as a share of the largest logit, that shows that one token sees another. Rounding in
float32 is about a hundredth of it."""


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

    _check_architecture(folder, kind)
    auto_class = getattr(transformers, AUTO_CLASSES[kind])
    try:
        model, loading = auto_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise Mistake(_not_a_model(folder, kind, error)) from None
    if missing := sorted(loading["missing_keys"]):
        raise Mistake(
            f"the weights in {folder} are not those of {WORDS[kind]}: they lack {first_names(missing)}; name such a"
            " model"
        )
    # A first forward pass may repack quantised weights, for good: these are not asked.
    if kind != "CAUSAL_LM" or getattr(model, "is_quantized", False):
        return LoadedModel(model, train_head=False)
    if sees_later_tokens(model):
        raise Mistake(
            f"{folder} holds an encoder, whose tokens see those that follow; this task needs {WORDS[kind]}"
        )
    remark = _remark_on_padding(model)
    return LoadedModel(model, train_head=False, remarks=(remark,) if remark else ())


def outline_language_model(folder: Path, kind: str) -> LoadedModel:
    """Build a language model on the meta device, without loading weights.

    Raises:
        Mistake: if the folder holds no such model.
    """
    import torch
    import transformers

    _check_architecture(folder, kind)
    try:
        with torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(folder)
            model = getattr(transformers, AUTO_CLASSES[kind]).from_config(config)
    except (OSError, ValueError) as error:
        raise Mistake(_not_a_model(folder, kind, error)) from None
    return LoadedModel(model, train_head=False)


def sees_later_tokens(model: Any) -> bool:
    """Return whether the logits of the first token depend on the last one, as an encoder's do."""
    first = _logits(model, [[1, 2, 3], [1, 2, 4]])[:, 0]
    return _change(first[0], first[1]) > VISIBLE


def keeps_examples_apart(model: Any) -> bool:
    """Return whether a decoder separates the examples of a row, whose positions begin anew at each of them.

    Many decoders of transformers do if they take `position_ids` and get no attention mask; others attend across
    examples in silence. Two examples in a row are compared with the second one alone.
    """
    if not takes(model, "position_ids"):
        return False
    positions = [[0, 1, 2, 0, 1, 2]]
    row = _logits(model, [[1, 2, 3, 4, 5, 6]], position_ids=positions, use_cache=False)[0, 3:]
    return _change(_logits(model, [[4, 5, 6]])[0], row) <= VISIBLE


def _remark_on_padding(model: Any) -> str | None:
    """Return a sentence if the logits of a decoder depend on the padding at the left; None if they do not."""
    padded = {"attention_mask": [[0, 0, 0, 1, 1, 1]]}
    if takes(model, "position_ids"):
        padded["position_ids"] = [[0, 0, 0, 0, 1, 2]]
    change = _change(_logits(model, [[4, 5, 6]])[0], _logits(model, [[1, 1, 1, 4, 5, 6]], **padded)[0, 3:])
    if change <= LARGEST_CHANGE:
        return None
    return (
        f"a text's logits depend on the padding before it in a {type(model).__name__} (a logit changes by {change:.1%}"
        " of the largest one); batches of another size give other predictions"
    )


def _logits(model: Any, tokens: list[list[int]], **inputs: Any) -> Tensor:
    """Return logits (rows, tokens, vocabulary) in float32; lists among the inputs become tensors."""
    import torch

    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    ids = torch.tensor(tokens, device=model.device) % vocabulary
    tensors = {
        name: torch.tensor(value, device=model.device) if isinstance(value, list) else value
        for name, value in inputs.items()
    }
    training = model.training
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=ids, **tensors).logits.float()
    model.train(training)
    return logits


def _change(first: Tensor, second: Tensor) -> float:
    """Return the largest change of a logit, as a share of the largest one; 0 if nothing can be compared."""
    largest = float(first.abs().max())
    change = float((first - second).abs().max())
    return change / largest if 0 < largest < float("inf") else 0.0


def generate(model: Any, prompt: Mapping[str, Tensor], tokenizer: Any, max_new_tokens: int) -> Tensor:
    """Generate token ids (n, new tokens) greedily, padded at the right.

    A text stops at the tokenizer's or the model's end of text, and where the model has no more positions. What a prompt
    gets does not depend on the other prompts of the batch.

    Args:
        model: a language model.
        prompt: `input_ids` and `attention_mask` (n, tokens); a decoder's are padded at the left.
        tokenizer: the model's tokenizer.
        max_new_tokens: largest number of new tokens.
    """
    import torch

    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    lengths = prompt["attention_mask"].sum(-1)
    most = torch.full_like(lengths, max_new_tokens)
    if limit is not None:
        taken = 0 if model.config.is_encoder_decoder else lengths
        most = most.clamp(max=limit - taken).clamp(min=1)
    written = prompt["input_ids"].new_full((len(most), int(most.max())), tokenizer.pad_token_id)
    for number in most.unique().tolist():
        rows = most == number
        part = {name: values[rows] for name, values in prompt.items()}
        if not model.config.is_encoder_decoder:
            part = {name: values[:, -int(lengths[rows].max()) :] for name, values in part.items()}
        new = _continued(model, part, tokenizer, number)
        written[rows, : new.shape[1]] = new
    return written


def _continued(model: Any, prompt: Mapping[str, Tensor], tokenizer: Any, max_new_tokens: int) -> Tensor:
    """Return what transformers generates after prompts (n, tokens), greedily."""
    tokens: Tensor = model.generate(
        **prompt,
        **GREEDY,
        max_new_tokens=max_new_tokens,
        max_length=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=end_tokens(model, tokenizer) or None,
    )
    before = 1 if model.config.is_encoder_decoder else prompt["input_ids"].shape[1]
    return tokens[:, before:]


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end a text: the tokenizer's, and those of the model's generation config."""
    ends = model.generation_config.eos_token_id
    return sorted({*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None})


def takes(model: Any, argument: str) -> bool:
    """Return whether the forward pass of a model's class, or of a class that it extends, has an argument."""
    forwards = [vars(each)["forward"] for each in type(model).__mro__ if "forward" in vars(each)]
    return any(argument in inspect.signature(forward).parameters for forward in forwards)


def _check_architecture(folder: Path, kind: str) -> None:
    """Check that a decoder is wanted of no encoder-decoder, of which transformers would load a part."""
    if kind == "CAUSAL_LM" and read_model_config(folder).is_encoder_decoder:
        raise Mistake(f"{folder} holds an encoder-decoder; this task needs {WORDS[kind]}")


def _not_a_model(folder: Path, kind: str, error: Exception) -> str:
    if "Unrecognized configuration class" in str(error):
        return f"{folder} holds another kind of model; this task needs {WORDS[kind]}"
    return f"{folder} holds no model for {kind} ({reason_of(error)}); this task needs {WORDS[kind]}"
