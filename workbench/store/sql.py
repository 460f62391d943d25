"""DuckDB over a store: its tables as views, nothing else readable and nothing writable."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds

from workbench.errors import WorkbenchError
from workbench.prompts import check_characters
from workbench.shards import TABLES, source_of
from workbench.store.tables import Tables


def query(store: Tables, sql: str) -> pd.DataFrame:
    """The result of one SQL query over the store's tables.

    DuckDB runs in memory, may read files of this store's folder only, and its configuration is locked. Of a store on object
    storage it may read no file: it is handed the tables' columns as it asks for them.
    Raises `WorkbenchError` when DuckDB is not installed or the query fails.
    """
    try:
        import duckdb
    except ImportError as error:
        raise WorkbenchError(
            "Store.query needs DuckDB, which is not installed; run `pip install duckdb`, or use Store.table and "
            "Store.counts, which need nothing more."
        ) from error
    check_characters({"text": sql}, "the query")
    with duckdb.connect(":memory:") as connection:
        _lock_down(connection, store)
        try:
            for name in TABLES:
                _view(connection, store, name)
            connection.execute("SET lock_configuration = true")
            _check_reads_only(connection, sql)
            return connection.execute(sql).df()
        except duckdb.Error as error:
            raise WorkbenchError(f"The query failed: {str(error).splitlines()[0]}") from error


def _check_reads_only(connection: Any, sql: str) -> None:
    """A folder that DuckDB may read it may also write (COPY ... TO), so only one SELECT is let through."""
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    if kinds != ["SELECT"]:
        found = " and ".join(kinds) or "nothing"
        raise WorkbenchError(f"Store.query runs one SELECT and changes nothing; this is {found}.")


def _lock_down(connection: Any, store: Tables) -> None:
    if isinstance(store.path, Path):
        connection.execute(f"SET allowed_directories = [{_quoted(str(store.path.resolve()) + '/')}]")
    connection.execute("SET temp_directory = ''")  # else `.tmp` where the user happens to be, readable and writable
    connection.execute("SET enable_external_access = false")
    connection.execute("SET autoinstall_known_extensions = false")


def _view(connection: Any, store: Tables, name: str) -> None:
    files = store.sizes(name)
    if files and not isinstance(store.path, Path):
        connection.register(name, _dataset(store, files))
    elif files:
        connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM read_parquet([{_paths(store, files)}])')
    else:
        columns = ", ".join(f'NULL AS "{column}"' for column in TABLES[name].names)
        connection.execute(f'CREATE VIEW "{name}" AS SELECT {columns} WHERE false')


def _paths(store: Tables, files: Iterable[str]) -> str:
    assert isinstance(store.path, Path)
    folder = store.path.resolve()
    return ", ".join(_quoted(str(folder / file)) for file in files)


def _dataset(store: Tables, files: Mapping[str, int | None]) -> ds.Dataset:
    """The files as one table that Arrow reads by columns and row groups, as a query asks."""
    kind: Any = ds.ParquetFileFormat()
    fragments = [kind.make_fragment(source_of(store.disk, *file)) for file in files.items()]
    return ds.FileSystemDataset(fragments, fragments[0].physical_schema, kind)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
