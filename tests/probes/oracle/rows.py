"""Tables compared with rows worked out elsewhere."""

from collections.abc import Sequence
from typing import Any

Rows = dict[tuple[Any, ...], dict[str, float | None]]


def by_key(found: Any, keys: Sequence[str], values: Sequence[str]) -> Rows:
    """{values of the key columns: {column: value}}; null is None."""
    rows = [{name: None if x != x else x for name, x in row.items()} for row in found.frame.to_dict("records")]
    named = {tuple(row[key] for key in keys): {name: row[name] for name in values} for row in rows}
    assert len(named) == len(rows), "two rows are of one thing"
    return named


def assert_rows(found: Any, keys: Sequence[str], expected: Rows) -> None:
    """Every row is there, and of each the columns that `expected` has."""
    got = by_key(found, keys, list(next(iter(expected.values()))))
    assert set(got) == set(expected)
    for key, row in expected.items():
        for name, value in row.items():
            have = got[key][name]
            same = have is value if value is None or have is None else abs(have - value) < 1e-6
            assert same, f"{key}: {name} {have}, not {value}"
