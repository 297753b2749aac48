"""Merging of an adapter into its base model, and comparison of the two models."""
