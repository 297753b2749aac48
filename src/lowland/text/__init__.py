"""Damage to texts and its repair: no torch, no Inspect."""
