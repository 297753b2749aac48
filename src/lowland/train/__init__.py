"""One training run: `methods.py` says how, `trainer.py` does it, on Hugging Face's Trainer."""
