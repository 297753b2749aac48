"""Readers of tables: users' own files, and the original files of data sets."""
