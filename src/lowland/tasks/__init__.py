"""Tasks: data, model head and scores. `table.py` lists them; each kind has a file of its own."""
