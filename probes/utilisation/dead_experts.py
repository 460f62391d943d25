"""Which experts no token selects."""

from typing import TYPE_CHECKING

import numpy as np

from probes.ranking import DEAD
from probes.reading import Tokens
from probes.utilisation.usage import usage
from workbench.anatomy import ExpertRef

if TYPE_CHECKING:
    from workbench.store import Store


def dead_experts(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> tuple[ExpertRef, ...]:
    """The experts that no token read selected, in order of layer and number; the chat template's tokens are read too."""
    return tuple(sorted(usage(store, tokens=tokens, roles=roles, where=where, n_bootstrap=0).flagged(DEAD)))
