"""Five mistakes for every table of use; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, SIGN, SLOTS, Mistake, at

ENTROPY, TOGETHER, DEAD = (f"utilisation/{name}.py" for name in ("entropy", "co_selection", "dead_experts"))

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "routing_entropy": (
        at(ENTROPY, "return 0.0 - (share", "return 0.0 + (share", SIGN),
        # of tokens, not of selections
        at(ENTROPY, "n[None] / max(n.sum(), 1)", "n[None] / len(expert)", DENOMINATOR),
        at(ENTROPY, '{"layer": layer, "n_experts"', '{"layer": layer - 1, "n_experts"', LAYER),
        # every token counts, also those not read and the last, which was never computed
        at(ENTROPY, "cluster), group >= 0", "cluster), group >= -1", PADDING),
        at(ENTROPY, "= routing.expert[read],", "= routing.expert[read][:, :1],", SLOTS),
    ),
    "co_selection": (
        at(TOGETHER, '-rows["n"]', 'rows["n"]', SIGN),
        at(TOGETHER, "share = n / read.sum()", "share = n / len(read)", DENOMINATOR),
        at(TOGETHER, '{"layer": np.full(len(n), layer),', '{"layer": np.full(len(n), layer - 1),', LAYER),
        at(TOGETHER, "read = group >= 0", "read = group >= -1", PADDING),
        # the slot is taken for the expert
        at(TOGETHER, "chosen[row, block[row, slot]] = 1", "chosen[row, slot] = 1", SLOTS),
    ),
    "dead_experts": (
        at(DEAD, "axis.of(counted.n)[0] == 0", "axis.of(counted.n)[0] > 0", SIGN),
        at(DEAD, "int(counted.tokens[0])", "len(group)", DENOMINATOR),
        at(DEAD, '"layer": axis.layer[dead]', '"layer": axis.layer[dead] - 1', LAYER),
        at(DEAD, "np.where(group >= 0, 0, -1)", "np.where(group >= -1, 0, -1)", PADDING),
        at(DEAD, "counted = store.counts(None", "counted = first_slot_counts(store, None", SLOTS),
    ),
}
