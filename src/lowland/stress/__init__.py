"""Stress tests: multilingual, code-switched and messy questions, for language models and for fine-tuned adapters."""
