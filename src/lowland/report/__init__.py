"""What a person reads: from records and evidence to words and tables."""
