"""How it is asked: Inspect, budget, collection, judge."""
