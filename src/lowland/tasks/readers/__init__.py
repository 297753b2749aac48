"""Readers: from files, in the form that users have or that authors distribute, to tables."""
