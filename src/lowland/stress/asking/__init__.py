"""Asking: settings, budget, calls to Inspect, rows from its log, ratings by people or a judge, the embedded model."""
