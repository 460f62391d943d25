"""Which experts of one layer are selected together."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import PairTable
from probes.reading import Tokens, describe, prompt_of_row, routed_units, template_notes, used_prompts
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

_BLOCK = 1 << 15  # tokens at once: memory stays small, and sums of 0 and 1 in float32 are exact up to 2^24


@checked
def co_selection(
    store: "Store",
    layer: int | None = None,
    *,
    first: int = 1000,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> PairTable:
    """Which experts i < j of one layer the same tokens select, and how much more often than by chance.

        share[i, j]    = n[i, j] / T          n[i, j]  tokens that select both; T  routed tokens read
        expected[i, j] = (n[i] / T) (n[j] / T)    n[i]  tokens that select i: the share, if the two were independent
        lift[i, j]     = share[i, j] / expected[i, j]

    layer   one layer; None: all of them
    first   how many rows are kept, those with the largest share; 0 keeps every pair, also those that no token selects
    tokens, roles, where  as in `ftri`; by default prompt and response, without the chat template

    Rows by falling share, equal ones by layer, expert and other expert. Range: share and expected [0, 1], lift from 0, where no
    token selects both; null where expected is 0, since one of the two is dead. 1 is independence, which no router can have
    everywhere: a token's experts compete for its k slots, so even routing of k of E gives (1 - 1/k) / (1 - 1/E) to every pair,
    and the notes say how much that is. At top-1 no two experts are together, and every n is 0. No interval and no p-value: the
    first of many pairs were chosen for being together.

    Theirs: OLMoE's co-activation (arXiv 2409.02060, its equation quoted from memory) is n[i, j] / n[i], which is not symmetric;
    its script (allenai/OLMoE, scripts/run_moe_analysis.py at 8eb1b3d, read) counts only two experts that stand next to each
    other in a token's order of logits. Ours: every two of a token's experts, over all tokens read; expected, lift.

    Not evidence that two experts work together: a lift says that the same tokens want both, because of a word that they
    share perhaps. Switch one off and see what becomes of the other.
    Raises `WorkbenchError` for a layer that the store does not have, first below 0, and when no token read was routed.
    Memory: experts x experts counts of one layer, and blocks of 32,768 tokens.
    """
    _check(store, layer, first)
    group, sequence = routed_units(store, tokens, roles, where)
    read = group >= 0
    asked = store.layers if layer is None else (layer,)
    rows: Any = pd.concat([_pairs(store, one, read, first) for one in asked], ignore_index=True)
    order = np.lexsort([rows["other_expert"], rows["expert"], rows["layer"], -rows["n"]])
    frame = rows.iloc[order[:first] if first else order].reset_index(drop=True)
    options = {"layer": layer, "first": first, "tokens": describe(tokens, roles), "roles": roles, "where": where}
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    notes = (f"{int(read.sum())} tokens of {len(sequence)} responses read", *apart, *_said(store, asked, frame))
    return PairTable.of(store, "co_selection", options, frame, notes)


def _check(store: "Store", layer: int | None, first: int) -> None:
    if layer is not None and layer not in store.layers:
        raise WorkbenchError(
            f"Layer {layer} of '{store.path}' has no slots; it has layers {', '.join(map(str, store.layers))}."
        )
    if first < 0:
        raise WorkbenchError(f"first={first} is no number of rows; give 1 or more, or 0 for every pair.")


def _pairs(store: "Store", layer: int, read: np.ndarray, first: int) -> pd.DataFrame:
    """The `first` pairs of a layer, of equal ones those with the lower numbers; all where that is 0."""
    both = _together(store.routing(layer).expert[read], store.anatomy.layer(layer).n_experts)
    i, j = np.triu_indices(len(both), 1)
    kept = np.argsort(-both[i, j], kind="stable")[: first or None]
    i, j, rate = i[kept], j[kept], both.diagonal() / read.sum()
    n, expected = both[i, j], rate[i] * rate[j]
    share = n / read.sum()
    lift = np.divide(share, expected, out=np.full(len(n), np.nan), where=expected > 0)
    about = {"layer": np.full(len(n), layer), "expert": i, "other_layer": np.full(len(n), layer), "other_expert": j}
    frame = pd.DataFrame({**about, "n": n, "share": share, "expected": expected, "lift": lift})
    return frame.astype(dict.fromkeys(about, "int32"))


def _together(expert: np.ndarray, n_experts: int) -> np.ndarray:
    """[experts, experts] int64: how many of the tokens [tokens, slots] select both; on the diagonal how many select it."""
    out = np.zeros((n_experts, n_experts), np.int64)
    for start in range(0, len(expert), _BLOCK):
        block = expert[start : start + _BLOCK]
        chosen = np.zeros((len(block), n_experts), np.float32)
        row, slot = np.nonzero(block >= 0)  # an empty slot is no expert
        chosen[row, block[row, slot]] = 1
        out += (chosen.T @ chosen).astype(np.int64)
    return out


def _said(store: "Store", layers: tuple[int, ...], frame: Any) -> tuple[str, ...]:
    """Which pairs these are, and what lift even routing would give."""
    shapes = [(one.top_k, one.n_experts) for one in map(store.anatomy.layer, layers)]
    pairs = sum(e * (e - 1) // 2 for _, e in shapes)
    kept = "all" if len(frame) == pairs else f"the first {len(frame):,} of"
    rest = "" if len(frame) == pairs else "; first=0 keeps every pair"
    even = [
        f"even routing of {k} of {e} experts gives every pair a lift of {(1 - 1 / k) / (1 - 1 / e):.3f}: they compete for slots"
        for k, e in sorted({*shapes})
        if k > 1 and e > 1
    ]
    none = () if frame["n"].any() else ("no token read selected two experts of a layer",)
    why = "no interval, no p-value: the first of many pairs were chosen for being together"
    return (f"{kept} {pairs:,} pairs of experts within a layer, by the share of tokens{rest}", *none, *even, why)
