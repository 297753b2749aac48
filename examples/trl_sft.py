"""Flat-LoRA in TRL's SFTTrainer: one line.

pip install trl; python examples/trl_sft.py --model FOLDER_OR_ID (default: a tiny model)
"""

import argparse
import tempfile

import tiny
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from lowland import FlatLoRA


def main() -> None:
    """Train, and print the first and the last loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or id of a causal language model")
    parser.add_argument("--rho", type=float, default=0.05)
    args = parser.parse_args()
    model, tokenizer = tiny.language_model(args.model)

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            train_dataset=Dataset.from_dict({"text": tiny.TEXTS}),
            args=SFTConfig(
                output_dir=folder,
                learning_rate=1e-2 if args.model is None else 2e-4,
                num_train_epochs=5,
                logging_strategy="epoch",
                report_to="none",
                bf16=torch.cuda.is_available(),
                save_strategy="no",
            ),
            callbacks=[FlatLoRA(rho=args.rho)],  # the one line
        )
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
