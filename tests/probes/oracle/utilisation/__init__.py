"""The tables of use: by hand, brute force, what each must equal, and five mistakes planted in each.

goldens.py  every table, worked by hand
brute.py    every table again, by loops over rows
checks.py   what every table must equal, on any copy of the package
planted.py  the mistakes
"""
