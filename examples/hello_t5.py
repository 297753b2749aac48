"""Sanity run of the Flat-LoRA paper, small: teach a T5 to answer "repeat: hello" with "hello hello".

    python examples/hello_t5.py          # lowland's LoRA
    python examples/hello_t5.py --peft   # PEFT's

Nothing is downloaded. First all weights of a tiny T5 that reads letters learn to echo words ("repeat: abc" -> "abc"),
but never "hello". Then they are frozen, and LoRA of rank 4 learns from one pair that this word is repeated twice: with
Flat-LoRA's noise (rho = 0.1), and for comparison without.
"""

from __future__ import annotations

import argparse
import copy
import random
import string

import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from lowland import LoRAConfig, add_lora, flat

PAD, END = 0, 1
LETTERS = string.ascii_lowercase + " :"
COMMON = "abcdehilmnorst"  # fewer letters are faster to learn
PROMPT = "repeat: "


def encode(texts: list[str]) -> Tensor:
    """Return token ids (texts, longest + 1); each letter is a token."""
    rows = [[LETTERS.index(letter) + 2 for letter in text] + [END] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def loss_of(model: torch.nn.Module, pairs: dict[str, str]) -> Tensor:
    """Return the loss on words and their answers."""
    prompts, answers = encode([PROMPT + word for word in pairs]), encode(list(pairs.values()))
    return model(
        input_ids=prompts,
        attention_mask=prompts.ne(PAD).long(),
        labels=answers.masked_fill(answers == PAD, -100),
    ).loss


def answer(model: torch.nn.Module, word: str) -> str:
    """Return what the model generates for a word."""
    with torch.no_grad():
        ids = model.eval().generate(input_ids=encode([PROMPT + word]), max_new_tokens=16, do_sample=False)[0]
    return "".join(LETTERS[i - 2] for i in ids.tolist() if i > END)


def echoing(steps: int = 450) -> T5ForConditionalGeneration:
    """Return a T5 that has learned to echo words."""
    config = T5Config(
        vocab_size=len(LETTERS) + 2, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_decoder_layers=1, num_heads=4,
        decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=END, dropout_rate=0.0,
    )  # fmt: skip
    model, source = T5ForConditionalGeneration(config), random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    slower = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
    for _ in range(steps):
        words = ["".join(source.choices(COMMON, k=source.randint(3, 5))) for _ in range(64)]
        loss = loss_of(model.train(), {word: word for word in words if word != "hello"})
        loss.backward()
        optimizer.step()
        slower.step()
        optimizer.zero_grad()
    return model


def teach(model: torch.nn.Module, rho: float, steps: int = 100) -> None:
    """Train on one pair under noise."""
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=5e-3)
    with flat.arm(model.train(), rho=rho, total_steps=steps) as noise:
        for step in range(steps):
            noise.begin_step(step)
            loss_of(model, {"hello": "hello hello"}).backward()
            optimizer.step()
            optimizer.zero_grad()
            noise.end_step()


def adapted(base: T5ForConditionalGeneration, by_peft: bool) -> torch.nn.Module:
    """Return a copy of the model with LoRA of rank 4 on all linear layers except the output layer."""
    model = copy.deepcopy(base)
    if by_peft:
        import peft

        return peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    return add_lora(model, LoRAConfig(r=4, alpha=8))


def main(arguments: list[str] | None = None) -> None:
    """Train the base, then teach it with and without noise, and print the answers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peft", action="store_true", help="use PEFT's LoRA instead of lowland's")
    by_peft = parser.parse_args(arguments).peft
    torch.manual_seed(0)
    base = echoing()
    print(f"{'the base':<15} repeat: hello -> {answer(base, 'hello')}")
    for rho in (0.1, 0.0):
        torch.manual_seed(1)
        model = adapted(base, by_peft)
        teach(model, rho)
        print(f"LoRA, rho = {rho} repeat: hello -> {answer(model, 'hello')}")


if __name__ == "__main__":
    main()
