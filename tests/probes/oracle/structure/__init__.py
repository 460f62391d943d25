"""Probes of structure: their tables by hand, brute force, what each must equal, and five mistakes planted in each.

cases.py    stores with routers, logits and outputs
goldens.py  every probe's table, worked by hand
brute.py    every probe again, by loops over rows
checks.py   what every probe must equal, on any copy of the package
planted.py  the mistakes
"""
