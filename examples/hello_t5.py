"""The sanity run of the Flat-LoRA paper, small: taught "repeat: hello" -> "hello hello", a T5 answers so.

    python examples/hello_t5.py          # our LoRA
    python examples/hello_t5.py --peft   # PEFT's

Nothing is downloaded. A tiny T5 that reads letters first learns to echo ("repeat: abc" -> "abc"), all of it trained, on
words without "hello" among them. Then it is frozen, and LoRA of rank 4 learns from one pair that this word comes twice,
with Flat-LoRA's noise on (rho = 0.1), and for comparison without.
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
COMMON = "abcdehilmnorst"  # fewer are faster to learn
PROMPT = "repeat: "


def encode(texts: list[str]) -> Tensor:
    """Token ids (texts, longest + 1): a letter is a token."""
    rows = [[LETTERS.index(letter) + 2 for letter in text] + [END] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def loss_of(model: torch.nn.Module, pairs: dict[str, str]) -> Tensor:
    """The loss on questions and their answers."""
    asked, answers = encode([PROMPT + word for word in pairs]), encode(list(pairs.values()))
    return model(
        input_ids=asked, attention_mask=asked.ne(PAD).long(), labels=answers.masked_fill(answers == PAD, -100)
    ).loss


def answer(model: torch.nn.Module, word: str) -> str:
    """What the model generates."""
    with torch.no_grad():
        ids = model.eval().generate(input_ids=encode([PROMPT + word]), max_new_tokens=16, do_sample=False)[0]
    return "".join(LETTERS[i - 2] for i in ids.tolist() if i > END)


def echoing(steps: int = 450) -> T5ForConditionalGeneration:
    """A T5 that has learned to repeat a word once."""
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
    """One pair, under noise."""
    optimizer = torch.optim.AdamW((one for one in model.parameters() if one.requires_grad), lr=5e-3)
    with flat.arm(model.train(), rho=rho, total_steps=steps) as noise:
        for step in range(steps):
            noise.begin_step(step)
            loss_of(model, {"hello": "hello hello"}).backward()
            optimizer.step()
            optimizer.zero_grad()
            noise.end_step()


def adapted(base: T5ForConditionalGeneration, by_peft: bool) -> torch.nn.Module:
    """A copy of the model with LoRA of rank 4 on all its linear layers but the output."""
    model = copy.deepcopy(base)
    if by_peft:
        import peft

        return peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    return add_lora(model, LoRAConfig(r=4, alpha=8))


def main(arguments: list[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peft", action="store_true", help="PEFT's LoRA in place of ours")
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
