"""Foundations that all packages share: configuration, errors, records and random streams. It never imports torch."""
