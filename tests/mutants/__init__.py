"""Mistakes planted in the product one at a time: which of them the tests notice, and which they let through.

In reading order: mutant (one mistake), by_hand (those that somebody thought of), operators and drawn (those that a seed
draws), covering (which tests run a line), forking and verdict (one mistake against its tests), __main__ (`make mutants`).
"""
