"""What probes are held against: stores worked by hand or drawn, tables by hand, brute force, and planted mistakes.

memory.py   a store that never touches a disk
cases.py    a store to compute by hand, and random ones
goldens.py  every probe's table, worked by hand
brute.py    every probe again, by loops over rows
checks.py   what every probe must equal, on any copy of the package
rows.py     a table's rows compared
utilisation/  the same for the tables of use
traffic/    the same for probes of traffic
specialisation/  the same for probes of specialisation
whole.py    all of them together
planted.py  copies of the package with one mistake
importance/  the same for probes of importance
structure/   the same for probes of structure
contrasts/   the same for drift between two stores
whole.py    all of them together
"""
