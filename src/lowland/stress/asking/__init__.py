"""Asking: settings, budget, calls to Inspect, rows from its log, the judge, and the embedded model."""
