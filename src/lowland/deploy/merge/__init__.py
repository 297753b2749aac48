"""An adapter merged into its base model, and the proof that nothing was lost."""
