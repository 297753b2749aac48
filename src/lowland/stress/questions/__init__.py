"""What is asked: items, conditions, mitigations."""
