"""Uses of a trained run: prediction, merging, and a checklist."""
