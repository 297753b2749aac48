"""Rivals of Flat-LoRA: other ways to flat minima, from the descriptions in their papers; see docs/rivals.md."""
