"""The adapter doctor: a diagnosis of a trained adapter in plain words."""
