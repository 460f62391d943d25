"""What a person at a terminal sees: lines, tables and JSON, never markup out of a model; and a model, opened meanwhile.

In reading order: values (text without control characters), printing (results to stdout, all about
the work to stderr), opening (a model, with a spinner). Rich and torch are imported when they are used.
"""

from .opening import keep, open_model, without_bars
from .printing import note, print_json, print_pair, print_table, say, warn, working
from .values import plain

__all__ = [
    "keep", "note", "open_model", "plain", "print_json", "print_pair", "print_table", "say", "warn", "without_bars",
    "working",
]  # fmt: skip
