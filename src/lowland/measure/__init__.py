"""Measures of trained runs: how flat the loss is, what the adapters learned, and what they cost."""
