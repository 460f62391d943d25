"""Drift between two stores: its table by hand, brute force, what it must equal, and five mistakes planted in it.

cases.py    the golden store before and after tuning; random pairs of stores
goldens.py  the table, worked by hand
brute.py    the same by loops over rows
checks.py   what it must equal, on any copy of the package
planted.py  the mistakes
"""
