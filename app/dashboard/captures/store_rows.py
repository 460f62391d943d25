"""Every store of the project as a row: what it holds, whether it is complete, and what is wrong with it."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from workbench import WorkbenchError
from workbench.paths import Place

from ..session import Catalog, Identity, identity, store_at
from ..widgets import visible
from .unfinished import begun, unfinished

COMPLETE = "complete"


def store_rows(catalog: Catalog) -> pd.DataFrame:
    """name, model, prompts, tokens, steered, size (MB), state; complete ones first as the catalog orders them."""
    there = {name: at for name, at in catalog.stores().items() if not isinstance(at, Path) or at.is_dir()}
    rows = [{"name": name, **row_of(name, path)} for name, path in there.items()]
    half = {found.name: f"half written: {found}" for found in unfinished(catalog)}
    rows = [row for row in rows if row["name"] not in half]
    rows += [{"name": name, "state": said} for name, said in half.items()]
    damaged = begun(catalog).keys() - half.keys() - {row["name"] for row in rows}
    rows += [
        {"name": name, "state": "damaged: its plan.json cannot be read, or is of another version"}
        for name in sorted(damaged)
    ]
    return pd.DataFrame(rows, columns=["name", "model", "prompts", "tokens", "steered", "size", "state"])


def row_of(name: str, path: Place) -> dict[str, Any]:
    try:
        store_at(path)
        return about_store(str(path), identity(path))
    except WorkbenchError as error:
        return {"state": f"damaged: {str(error).replace(str(path), name)}"}
    except Exception as error:  # noqa: BLE001 - a damaged file can fail anywhere, and its neighbours are still to be listed
        return {"state": f"damaged: its files cannot be read ({type(error).__name__}); capture it again"}


@st.cache_data(max_entries=256, show_spinner="Reading the stores ...")
def about_store(path: str, now: Identity) -> dict[str, Any]:
    info = store_at(path).info()
    return {
        "model": visible(info["model"]["name"]),
        "prompts": info["prompts"],
        "tokens": info["rows"].get("tokens", 0),
        "steered": visible(info["steering"] or "no"),
        "size": info["size_bytes"] / 1e6,
        "state": COMPLETE,
    }
