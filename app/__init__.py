"""The faces: the `workbench` command line, experiments (the demo is one), the dashboard. Alone in importing streamlit.

In reading order: __main__ (the script `workbench`) and cli/ (its commands), experiments/ (a recipe as a run with its report),
dashboard/ (`workbench app`; page is the script that Streamlit runs), reports/ and terminal/ (how it is drawn and printed),
choice (what was chosen for the bundled model, and what training tuned), experts/ (all that is known of one expert).
Names are taken from the folders, so that `workbench --help` is immediate.
"""

import workbench as workbench  # whoever imports an old place of a module of this package hears the new one
