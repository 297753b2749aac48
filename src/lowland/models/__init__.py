"""Find and load pretrained models, and set their number format."""
