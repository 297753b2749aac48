"""Stress tests of fine-tuned runs on the test texts of their own task, clean and damaged."""
