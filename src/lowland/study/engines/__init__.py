"""Engines: ways to run the jobs of a study."""
