"""Forgetting: what tuned models lost on other data, and how much of an adapter is worth keeping."""
