"""Pictures of docs/statistics.md, which `statistics_pictures.py` writes."""
