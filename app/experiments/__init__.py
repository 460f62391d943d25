"""`workbench run` and `workbench report`: a recipe as a run's folder with tables, verdicts and a report.

In reading order: recipe/ (the experiment as a value), engine/ (what is done with a model), tables/ (what came out), run (the
conductor of these three), report/ (a page of it). Names are taken from the folders and from run: whoever reads a recipe or a
finished run should not wait for torch, which engine/ and run bring.
"""
