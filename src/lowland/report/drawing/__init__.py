"""Drawings in SVG, and the kinds of plots that reports and docs show."""
