"""A model, loaded with one line of what is being done instead of the libraries' own bars."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.checkpoints import Checkpoint, find_checkpoint, prepared
from workbench.progress import ProgressLines

from .printing import working

if TYPE_CHECKING:
    from workbench import MoEModel


def open_model(source: str, device: str, dtype: str, engine: str | None = None, **hub: Any) -> "MoEModel":
    """`workbench.load`, with a spinner instead of the progress bars of transformers. `hub`: revision, device_map."""
    checkpoint = find_checkpoint(source)
    if checkpoint is not None:
        keep(checkpoint)  # with lines of its own, before the spinner has the terminal
    with working(f"Loading {source}"):
        without_bars()
        from workbench import load

        return load(source, device=device, dtype=dtype, engine=engine, **hub)


def keep(checkpoint: Checkpoint, file: Path | None = None, index: str | None = None) -> Path:
    """The folder of a named checkpoint, fetched and converted first unless that was done, with lines on how far it is."""
    without_bars()
    return prepared(checkpoint, file=file, index=index, report=ProgressLines())


def without_bars() -> None:
    """From here on transformers and the hub draw no progress bars of their own and warn of errors alone."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
