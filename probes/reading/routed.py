"""Which routed tokens are read, response by response: what every measure of use, and of importance, begins with."""

from typing import TYPE_CHECKING

import numpy as np

from probes.reading.classes import used_prompts
from probes.reading.tokens import Tokens, prompt_of_row, select, sequence_of_row
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


def routed_units(
    store: "Store",
    tokens: Tokens | np.ndarray,
    roles: str | list[str] | None,
    where: str | None,
    *,
    weighted: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's unit (a response; -1: not read), and the sequence number of each unit.

    weighted: leaves out tokens with a routing weight that is not finite.
    Raises `WorkbenchError` when no token read was routed.
    """
    used = used_prompts(store, where)
    read = select(store, tokens, roles, used) & used[prompt_of_row(store)] & store.routed_tokens
    read = read & store.finite_weights if weighted else read
    if not read.any():
        raise WorkbenchError(f"None of the tokens read of '{store.path}' was routed; read other tokens.")
    sequence, number = np.unique(sequence_of_row(store)[read], return_inverse=True)
    group = np.full(len(read), -1, np.int64)
    group[read] = number
    return group, sequence
