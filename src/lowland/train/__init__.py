"""One training run: methods and their settings, fitting on Hugging Face's Trainer, and the test afterwards."""
