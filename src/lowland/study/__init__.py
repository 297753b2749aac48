"""Studies: train several methods with several seeds on a task, and record the runs."""
