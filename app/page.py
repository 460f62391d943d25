"""The script that Streamlit runs for `workbench app`; the page itself is `dashboard.py`."""

import sys

from workbench_app.dashboard import page

page(sys.argv[1:])
