"""`workbench run` and `workbench report`: a recipe as a run's folder with tables, verdicts and a report.

In reading order: recipe/ (the experiment as a value), engine/ (what is done with a model), tables/ (what came out), run (the
conductor of these three), spread (the same by many processes), report/ (a page of it). Names are taken from the folders, from
run and from spread: whoever reads a recipe or a finished run should not wait for torch, which engine/, run and spread bring.
"""
