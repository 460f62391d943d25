"""Drift between two stores, contrasted logits and neurons: tables by hand, brute force, what they must equal, planted mistakes.

cases.py    the golden store before and after tuning; random pairs of stores
goldens.py  the tables, worked by hand
brute.py    the same by loops over rows
checks.py   what they must equal, on any copy of the package
planted.py  the mistakes
"""
