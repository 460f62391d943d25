"""How much routing follows a token's id rather than its context or its place: OpenMoE's context-independent specialisation."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from probes.baselines import baseline_note
from probes.checked import checked
from probes.ranking import LayerTable
from probes.reading import Tokens, describe, routed_units
from probes.specialisation.information import information, spread
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def token_specialisation(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    least: int = 128,
    n_shuffles: int = 3,
    seed: int = 0,
) -> LayerTable:
    """What a token's id tells of its experts, in bits over chance, by layer and role; and its position, beside it.

        information = sum over ids v and experts e of p(v, e) log2(p(v, e) / (p(v) p(e)))    p: share of selections
        shuffled    = the same after ids changed places among the tokens of the row, mean of n_shuffles
        excess      = information - shuffled
        spread      = mean over v of the standard deviation over e of P(e | v)
        P(e | v): share of the tokens with id v that select e; v with `least` tokens or more

    tokens, roles, where  as in `usage`; least: OpenMoE takes ids with more than 128 occurrences
    n_shuffles, seed      how often ids are shuffled

    A row for each layer, what is known (`by`: token, position) and role (all, then each): information in [0, log2 E] bits, 0
    where one id or one expert is all there is; shuffled is not 0, since few tokens of many ids look informative by chance;
    excess is about 0 where routing does not regard the id. spread is null where no id occurs so often. n: tokens read; kinds:
    ids, or positions, among them. Routing that follows words and not places has the excess of `token` far above `position`.

    Paper: arXiv 2402.01739 (OpenMoE), section 4: the standard deviation of P(e | v), by token id against position id. The
    exact thresholds behind its figures are unverified. Ours: mutual information, its shuffled baseline, roles, k above 1.
    The first note is the baseline of RouterInterp: how well the id alone predicts selection in held-out prompts.

    Not evidence that context does not matter: a token's id and its context go together, and an expert may choose within an id.
    No interval: a resample repeats tokens, and repeated tokens look informative. Raises `WorkbenchError` for a store without
    token ids, and when no token read was routed.
    Memory: one layer's selections; time grows with slots x roles x shuffles.
    """
    if n_shuffles < 1 or least < 1:
        raise WorkbenchError(f"n_shuffles={n_shuffles} and least={least} should both be 1 or more.")
    group, _ = routed_units(store, tokens, roles, where)
    read = group >= 0
    groups = list(_groups(store, read))
    rng = np.random.default_rng([seed, 0])
    orders = [[rng.permutation(len(rows)) for _ in range(n_shuffles)] for _, rows, _ in groups]
    rows = [
        {"layer": layer, **about, **_measured(code, expert[at], order, store.anatomy.layer(layer).n_experts, least)}
        for layer in store.layers
        for expert in [store.routing(layer).expert]
        for (about, at, code), order in zip(groups, orders, strict=True)
    ]
    options = {"tokens": describe(tokens, roles), "roles": roles, "where": where, "least": least}
    none = "no interval: a resample repeats tokens, and repeated tokens look informative"
    told = baseline_note(store, read, seed)
    frame = pd.DataFrame(rows).astype({"layer": "int32"})
    return LayerTable.of(
        store, "token_specialisation", options | {"n_shuffles": n_shuffles, "seed": seed}, frame, (told, none)
    )


def _groups(store: "Store", read: np.ndarray) -> Iterator[tuple[dict[str, Any], np.ndarray, np.ndarray]]:
    """What a row is about, which rows of store.tokens it reads, and the code of each: its id or position, numbered."""
    ids: Any = store.tokens["token_id"]
    if ids[read].isna().any():
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so its token ids are unknown; capture it again without --no-text."
        )
    role = store.tokens["role"].astype(object).fillna("unknown").to_numpy(str)
    for name in ("all", *sorted(set(role[read]))):
        at = np.flatnonzero(read if name == "all" else read & (role == name))
        for by, column in (("token", ids), ("position", store.tokens["position"])):
            code = np.unique(column.to_numpy()[at].astype(np.int64), return_inverse=True)[1]
            yield {"by": by, "role": name, "n": len(at), "kinds": int(code.max()) + 1}, at, code


def _measured(
    code: np.ndarray, expert: np.ndarray, orders: list[np.ndarray], n_experts: int, least: int
) -> dict[str, float]:
    bits = information(code, expert)
    shuffled = float(np.mean([information(code[order], expert) for order in orders]))
    found = {"information": bits, "shuffled": shuffled, "excess": bits - shuffled}
    return found | {"spread": spread(code, expert, n_experts, least)}
