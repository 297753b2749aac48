"""Flat-LoRA in Hugging Face's Trainer: one line on a PEFT model, which saves an ordinary PEFT adapter.

python examples/trainer_dropin.py --model FOLDER_OR_ID --out FOLDER (default: a tiny model)
"""

import argparse
import tempfile

import tiny
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainingArguments

from lowland import FlatLoRA


def main() -> None:
    """Train, and print the first and the last loss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or id of an encoder")
    parser.add_argument("--rho", type=float, default=0.05)
    parser.add_argument("--out", help="folder to save the adapter in")
    args = parser.parse_args()
    model, tokenizer = tiny.classifier(args.model)
    model = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="SEQ_CLS")
    )
    rows = [{**tokenizer(text), "labels": label} for text, label in zip(tiny.TEXTS, tiny.LABELS, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model,
            TrainingArguments(
                output_dir=folder,
                learning_rate=1e-2 if args.model is None else 5e-4,
                num_train_epochs=5,
                logging_strategy="epoch",
                report_to="none",
                save_strategy="no",
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[FlatLoRA(rho=args.rho)],  # the one line
        )
        trainer.train()
    if args.out:
        model.save_pretrained(args.out)  # PeftModel.from_pretrained reads it
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
