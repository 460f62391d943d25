"""Which experts no token selects."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from probes.checked import checked
from probes.ranking import DEAD, SetTable
from probes.reading import Tokens, describe, expert_axis, prompt_of_row, routed_units, template_notes, used_prompts

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def dead_experts(
    store: "Store",
    *,
    tokens: Tokens | np.ndarray = "all",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> SetTable:
    """The experts that none of the tokens read selects.

        dead = {e : n[e] = 0}    n[e]  slots of the tokens read that hold expert e

    tokens, roles, where  as in `ftri`; every token by default, also the chat template's

    One set, "dead": a row an expert, in order of layer and number; `experts()` gives them to a plan. n: the routed tokens read,
    none of which selected it, so the same in every row: how much was asked before an expert was called dead. Where every
    expert was selected there is no row, and the notes say over how many tokens. Shared experts, which every token uses, are
    left out. Nothing is estimated: no interval, no p-value.

    Paper: none. Ours: the table. `usage` gives the same experts the flag "dead".

    Not evidence that an expert is useless, nor that it is never selected: it says so of these tokens alone. An expert for a
    language or a kind of text that these prompts lack is dead here; more prompts can only make fewer of them dead.
    Raises `WorkbenchError` when no token read was routed.
    """
    group, sequence = routed_units(store, tokens, roles, where)
    counted = store.counts(None, np.where(group >= 0, 0, -1))
    axis = expert_axis(store, counted.layers)
    dead, read = axis.of(counted.n)[0] == 0, int(counted.tokens[0])
    size = int(dead.sum())
    frame = pd.DataFrame({"set": np.full(size, DEAD, object), "layer": axis.layer[dead], "expert": axis.expert[dead]})
    frame = frame.assign(n=np.full(size, read)).astype({"layer": "int32", "expert": "int32", "n": "int64"})
    options = {"tokens": describe(tokens, roles), "roles": roles, "where": where}
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    among = f"{frame['layer'].nunique()} of {len(counted.layers)} layers"
    said = f"{size:,} of {len(dead):,} experts, in {among}, were selected by none"
    none = f"no expert is dead: each of {len(dead):,} was selected by some"
    asked = f"of the {read:,} tokens of {len(sequence)} responses read"
    notes = (f"{said if size else none} {asked}", *apart, "no interval, no p-value: nothing is estimated")
    return SetTable.of(store, "dead_experts", options, frame, notes)
