"""Rows of prompts out of whatever holds them: lists, DataFrames, Series, arrays, Arrow and Polars tables, datasets, generators.

None of those libraries is imported: each is known by what it can do. What would be iterated by its keys or columns is read
by rows, or refused.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from workbench.errors import WorkbenchError, listed

Row = tuple[str, Any]
KEYS = ("id", "text", "prompt", "messages", "response", "labels", "pair", "split", "cluster")
KEYS += ("tools", "chat_template_kwargs")


def rows_of(source: Any) -> Iterator[Row]:
    """Each row with its place, for errors: text, an object of fields, or whatever a list holds.

    Raises `WorkbenchError` for what has no rows: a file object, a dict that is no columns and no splits, a lazy table.
    """
    kind = name_of(source)
    if isinstance(source, Mapping):
        yield from _of_mapping(source, kind)
        return
    if hasattr(source, "read") or isinstance(source, bytes | bytearray):
        raise WorkbenchError(f"Prompts cannot be read from {kind}; pass the path of the file, or a list.")
    rows = _table(source)
    if rows is None and (hasattr(source, "collect") or hasattr(source, "columns")):
        raise WorkbenchError(
            f"T{kind[1:]} is no table whose rows can be read here; turn it into a pandas DataFrame first."
        )
    try:
        found = enumerate(source if rows is None else rows)
    except TypeError as error:
        raise WorkbenchError(
            f"Prompts cannot be read from {kind}; give a path, the name of a bundled file, or a list of prompts."
        ) from error
    word = "item" if rows is None else "row"
    yield from ((f"{word} {i} of {kind}", row) for i, row in found)


def responses_of(given: Any) -> dict[str, list[str]]:
    """Responses by prompt: {prompt id: text or several}, or a Series of them over prompt ids.

    Raises `WorkbenchError` for anything else: a table would be read by its columns, a list by its texts.
    """
    is_series = hasattr(given, "items") and hasattr(given, "iloc") and not hasattr(given, "columns")
    if not isinstance(given, Mapping) and not is_series:
        raise WorkbenchError(f"Responses are given as {{prompt id: text or list of texts}}, not as {name_of(given)}.")
    found: dict[str, list[str]] = {}
    for key, value in given.items():
        several = [value] if isinstance(value, str) else _column(value)
        if several is None or not all(isinstance(text, str) for text in several):
            raise WorkbenchError(
                f"The response of the prompt '{key}' is {value!r:.40}; it should be text, or a list of it."
            )
        if str(key) in found:
            raise WorkbenchError(f"The prompt '{key}' is given responses twice; give it a list of them.")
        found[str(key)] = [str(text) for text in several]
    return found


def name_of(source: Any) -> str:
    """How an error names it: the list (generators, too), the DataFrame."""
    is_list = isinstance(source, list | tuple | Generator)
    return "the list" if is_list else f"the {type(source).__name__}"


def unflattened(row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns `label.NAME` become one entry `labels`; beside a column `labels` they stay, and are refused as unknown."""
    if "labels" in row:
        return dict(row)
    labels = {key.removeprefix("label."): value for key, value in row.items() if key.startswith("label.")}
    rest = {key: value for key, value in row.items() if not key.startswith("label.")}
    return rest | ({"labels": labels} if labels else {})


def plain(value: Any) -> Any:
    """The value in Python's own types: arrays as lists, numpy's numbers and text as Python's, what is missing as None."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else tuple(map(plain, value))
    array: Any = value
    return plain(array.tolist()) if hasattr(array, "tolist") else value


def _table(source: Any) -> Iterable[Any] | None:
    """The rows of a table, of columns with names or of one; None for what gives its rows when it is iterated."""
    if hasattr(source, "iloc") and hasattr(source, "columns"):  # pandas; a Series gives its values by itself
        named = [name for name in source.index.names if _is_key(name)]
        table = source.reset_index(level=named) if named else source
        _check_columns(source, table.columns)
        return table.to_dict("records")
    if hasattr(source, "to_dicts"):  # Polars
        return source.to_dicts()
    if hasattr(source, "to_pylist"):  # Arrow: a table, or a column
        _check_columns(source, getattr(source, "column_names", ()))
        return source.to_pylist()
    if hasattr(source, "read_all"):  # Arrow's readers
        return _table(source.read_all())
    is_table = not hasattr(source, "collect") and hasattr(source, "columns") and hasattr(source, "to_pandas")
    return _table(source.to_pandas()) if is_table else None


def _is_key(name: Any) -> bool:
    return isinstance(name, str) and (name in KEYS or name.startswith("label."))


def _check_columns(source: Any, columns: Iterable[Any]) -> None:
    names = list(map(str, columns))
    for name in names:
        if names.count(name) > 1:
            raise WorkbenchError(f"The {type(source).__name__} has two columns '{name}'; name each column once.")


def _of_mapping(source: Mapping[Any, Any], kind: str) -> Iterator[Row]:
    if source and all(_is_table(value) for value in source.values()):
        for split, table in source.items():
            for place, row in rows_of(table):
                yield f"{place} of the split '{split}'", _in_split(row, str(split))
        return
    columns = {str(key): _column(value) for key, value in source.items()}
    lengths = {None if column is None else len(column) for column in columns.values()}
    known = all(map(_is_key, columns))
    if not known or len(lengths) != 1 or None in lengths or _is_one_chat(columns):
        hint = "put it into a list" if known else "give a list of prompts, and names as their 'id'"
        raise WorkbenchError(
            f"{kind[:1].upper()}{kind[1:]} with the keys {listed(list(map(str, source)))} is read neither by its keys nor as "
            f"columns of equal length; {hint}."
        )
    for i, row in enumerate(zip(*columns.values(), strict=True)):
        yield f"row {i} of {kind}", dict(zip(columns, row, strict=True))


def _is_table(value: Any) -> bool:
    """A table of its own, such as the splits of a DatasetDict are; lists and columns are none."""
    names = getattr(value, "columns", None) if hasattr(value, "columns") else getattr(value, "column_names", ...)
    return names is not ... and not isinstance(value, Mapping)


def _in_split(row: Any, split: str) -> Any:
    """A row of a split says so, unless it says otherwise itself."""
    return {**row, "split": split} if isinstance(row, Mapping) and plain(row.get("split")) is None else row


def _column(value: Any) -> list[Any] | None:
    """A column's values; None for what is no column."""
    if isinstance(value, list | tuple):
        return list(value)
    found = value.to_pylist() if hasattr(value, "to_pylist") else getattr(value, "tolist", lambda: None)()
    found = value.to_list() if found is None and hasattr(value, "to_list") else found
    return found if isinstance(found, list) else None


def _is_one_chat(columns: Mapping[str, list[Any] | None]) -> bool:
    """One prompt whose messages would be taken for as many prompts."""
    return any(isinstance(message, Mapping) for message in columns.get("messages") or ())
