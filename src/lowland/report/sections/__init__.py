"""Sections of a study's page: functions from its evidence to blocks."""
