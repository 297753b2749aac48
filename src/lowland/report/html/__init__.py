"""Renderers of a page, and of its surfaces, to HTML files that need nothing else."""

from lowland.report.html.render import GENERATOR, render_html, render_surface

__all__ = ["GENERATOR", "render_html", "render_surface"]
