"""The command line: a verb a function, its options a model."""
