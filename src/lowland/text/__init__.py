"""Damage to texts and its repair: corruptions, their levels, protected parts, and normalisation.

Nothing here imports torch, Inspect or a room above the ground.
"""
