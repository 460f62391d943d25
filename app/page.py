"""The script that Streamlit runs for `workbench app`; the dashboard itself is the package `dashboard`."""

import sys

from workbench_app.dashboard.navigation import run  # pyright: ignore[reportMissingImports]  # an editable install maps the name

run(sys.argv[1:])
