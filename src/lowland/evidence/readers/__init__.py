"""Readers: from records and rows of stress tests to arrays."""
