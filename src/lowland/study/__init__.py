"""Studies: methods x tasks x seeds -> records."""
