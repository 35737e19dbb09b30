"""How the documentation is built."""

from hagoop import __version__

project = "HaGoop"
author = "The HaGoop founders"
copyright = "2026, The HaGoop founders"
version = release = __version__
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "MapReduce for machines you cannot count on."}
nitpicky = True
