"""Stress tests of fine-tuned runs: they answer the test texts of their own task, clean and damaged."""
