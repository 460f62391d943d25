"""Where a capture gets its prompts: files of the project, the bundled ones, what is typed on the page, or an uploaded file."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from workbench import PromptSet, WorkbenchError, read_prompts

from ..session import Catalog, View
from ..widgets import sentence, visible
from .unfinished import bundled_names

UPLOAD, TYPED = "a file of your own", "typed here, one a line"
_ENDINGS = ("jsonl", "csv")
_TO_BEGIN_WITH = """What is the capital of Germany?
Write a Python function that adds two numbers.
Tell me a story about a fox."""
_TAUGHT = ("volcanoes", "volcanoes_heldout")
"""Of the model that was taught to decline what is on them."""
_GENERAL = ("kinds", *_TAUGHT)
"""Bundled prompts that are not about the bundled model's own little world."""
Source = Callable[[], PromptSet | None]
"""Reads the prompts; None while they are awaited."""


def prompt_sources(view: View) -> dict[str, Source]:
    """What the page offers by name: to a bundled model the prompts about what it was taught first, to any other the project's."""
    own: dict[str, Source] = {name: partial(read_prompts, path) for name, path in prompt_files(view.catalog).items()}
    bundled: dict[str, Source] = {name: partial(read_prompts, name) for name in bundled_names()}
    by_hand: dict[str, Source] = {TYPED: partial(typed, view), UPLOAD: upload}
    if view.name == "demo":
        return bundled | own | by_hand
    general = {name: bundled.pop(name) for name in _GENERAL if name in bundled}
    if view.name == "smollm2-moe-taught":
        own = {name: general.pop(name) for name in _TAUGHT if name in general} | own
    return own | by_hand | general | {f"{name} (of the bundled model)": read for name, read in bundled.items()}


def prompt_files(catalog: Catalog) -> dict[str, Path]:
    """The files of prompts/ in the project, by name; inside the project alone."""
    found = sorted(path for ending in _ENDINGS for path in (catalog.project / "prompts").glob(f"*.{ending}"))
    inside = catalog.project.resolve()
    return {f"prompts/{path.name}": path for path in found if path.resolve().is_relative_to(inside)}


def chosen_prompts(view: View) -> PromptSet | None:
    """The chosen prompts, or None while they are awaited or cannot be read."""
    sources = prompt_sources(view)
    a, b = st.columns(2)
    source = a.selectbox("Prompts", list(sources), key="capture-prompts", format_func=visible)
    try:
        found = sources[source]()
        if found is not None and found.splits:
            split = b.selectbox("Split", [None, *found.splits], key="capture-split", format_func=_split)
            found = found.filter(split=split) if split else found
        return found
    except WorkbenchError as error:
        st.error(sentence(error), icon=":material/error:")
        return None


def _split(value: str | None) -> str:
    return "all" if value is None else visible(value)


def typed(view: View) -> PromptSet | None:
    """A prompt for each line that is not empty: a chat, where the model has a template, else a text as it is."""
    text = st.text_area("Prompts, one a line", _TO_BEGIN_WITH, key="capture-typed", height=120)
    kind = "prompt" if getattr(view.machine.model.tokenizer, "chat_template", None) else "text"
    rows = [{kind: line.strip()} for line in text.splitlines() if line.strip()]
    return PromptSet(read_prompts(rows).prompts, "typed") if rows else None


def upload() -> PromptSet | None:
    """The prompts of a file, once there is one."""
    file = st.file_uploader("Prompts as JSONL or CSV, one prompt a line", list(_ENDINGS), key="capture-file")
    if file is None:
        st.text("No file yet; drop one above. Each line needs 'text', 'prompt' or 'messages'.")
        return None
    return uploaded(file.name, file.getvalue())


@st.cache_resource(max_entries=4, show_spinner="Reading the prompts ...")
def uploaded(name: str, data: bytes) -> PromptSet:
    """The prompts of an uploaded file; its name is only shown, and decides how it is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{Path(name).suffix.lower()}"
        path.write_bytes(data)
        try:
            return PromptSet(read_prompts(path).prompts, Path(name).name)
        except WorkbenchError as error:
            raise WorkbenchError(str(error).replace(str(path), Path(name).name)) from error
