"""Experiments: a recipe (TOML) planned, run with controls, resumed, and written down as tables and a report."""
