"""Command line: one function per command, with options taken from pydantic models."""
