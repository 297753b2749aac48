"""Train and test one run: the table of methods, their settings, fitting with Hugging Face's Trainer, and testing."""
