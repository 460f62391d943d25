"""How evenly each layer routes: the entropy of its load and of its tokens' weights."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.reading import Tokens, routed_units
from probes.utilisation.usage import usage

if TYPE_CHECKING:
    from workbench.store import Store


def routing_entropy(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """How evenly each layer routes: layer, n_experts, load_entropy_bits, evenness, token_entropy_bits, n_dead.

    load_entropy_bits  entropy of the layer's load, from 0 (one expert takes all) to log2(n_experts) (even)
    evenness           the same over its maximum, 0 to 1
    token_entropy_bits mean over tokens of the entropy of the token's own routing weights, divided by their sum: from 0
                       (one expert has all the weight) to log2(top_k). Not the router's entropy over all experts. Tokens
                       with a weight that is not finite are left out
    tokens             without the chat template by default; n_dead: experts that none of them selects
    """
    group, _ = routed_units(store, tokens, roles, where)
    finite = store.finite_weights
    scores: Any = usage(store, tokens=tokens, roles=roles, where=where, n_bootstrap=0).frame
    rows: list[dict[str, Any]] = []
    for layer, part in scores.groupby("layer"):
        load = part["score"].to_numpy(np.float64)
        bits, most = entropy_bits(load[None])[0], np.log2(len(load))
        weight = store.routing(int(layer)).weight[(group >= 0) & finite].astype(np.float64)
        per_token = weight_entropy(weight).mean()
        evenness = bits / most if most else 1.0
        rows.append({"layer": layer, "n_experts": len(load), "load_entropy_bits": bits, "evenness": evenness,
                     "token_entropy_bits": per_token, "n_dead": int((part["n"] == 0).sum())})  # fmt: skip
    return pd.DataFrame(rows).astype({"layer": "int32", "n_experts": "int32", "n_dead": "int32"})


def weight_entropy(weight: np.ndarray) -> np.ndarray:
    """[tokens] entropy in bits of each token's routing weights [tokens, k] over their sum; 0 where nothing was routed."""
    total = weight.sum(axis=1, keepdims=True)
    return entropy_bits(np.divide(weight, total, out=np.zeros_like(weight), where=total > 0).astype(np.float64))


def entropy_bits(share: np.ndarray) -> np.ndarray:
    """[rows] entropy of shares [rows, n] that sum to 1; 0 log 0 = 0."""
    return 0.0 - (share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1)  # no -0 where one has it all
