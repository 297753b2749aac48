"""Tasks: data and metric. `table.py` lists them; one file a kind of task."""
