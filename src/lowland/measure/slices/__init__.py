"""Slices of the loss: along lines and planes through the weights of trained runs and of their base model."""
