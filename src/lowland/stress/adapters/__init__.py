"""Fine-tuned runs asked their own test texts, damaged."""
