"""Expert output vectors that a store kept (`keep` with "outputs")."""

import numpy as np

from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError
from workbench.store.tables import Tables


def mean_output(store: Tables, expert: ExpertRef) -> np.ndarray:
    """The expert's mean output over the tokens that selected it, before its routing weight, float64.

    As wide as the expert's output: [hidden], or what the anatomy says where experts work in a space of their own.

    Raises `WorkbenchError` when the store kept no output of this expert.
    """
    store.anatomy.check_ref(expert)
    number = -1 - expert.expert if expert.is_shared else expert.expert
    own = 0 if expert.is_shared else store.anatomy.layer(expert.layer).output_size
    total, n = np.zeros(own or store.anatomy.hidden_size), 0
    for part in store.parts("outputs", ["expert", "output"]):
        if part.layer != expert.layer:
            continue
        for batch in store.read(part, ["expert", "output"]).to_batches():
            chosen = batch.column("expert").to_numpy() == number
            values = batch.column("output").flatten().to_numpy().reshape(len(chosen), -1)
            total += values[chosen].sum(0, dtype=np.float64) if chosen.any() else 0.0
            n += int(chosen.sum())
    if n == 0:
        raise WorkbenchError(
            f"The store '{store.path}' has no output vector of {expert}; capture with keep={{'outputs'}}, layers and "
            f"experts that include it."
        )
    return total / n
