"""A model by name or folder: found, loaded, and held in a number format."""
