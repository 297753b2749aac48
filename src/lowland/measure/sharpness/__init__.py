"""Sharpness: how much the loss rises near the trained weights, by random noise and in the worst direction."""
