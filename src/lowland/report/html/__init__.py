"""Renderer of a page to one HTML file that needs nothing else."""

from lowland.report.html.render import GENERATOR, render_html

__all__ = ["GENERATOR", "render_html"]
