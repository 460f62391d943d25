"""Five mistakes for every probe of traffic; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, SIGN, SLOTS, Mistake, at

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "capacity": (
        at("traffic/capacity.py", "before >= places[group]", "before < places[group]", SIGN),
        at("traffic/capacity.py", "factor * made / n_experts", "factor * made / expert.shape[1]", DENOMINATOR),
        at("traffic/capacity.py", '{"layer": layer, "factor"', '{"layer": layer + 1, "factor"', LAYER),
        # a position after the last that is read counts
        at("traffic/capacity.py", "longest = int(position.max()) + 1", "longest = int(position.max()) + 2", PADDING),
        at("traffic/capacity.py", "np.nonzero(expert >= 0)", "np.nonzero(expert[:, :1] >= 0)", SLOTS),
    ),
    "locality": (
        at("traffic/caches.py", "recent = last * n_experts", "recent = -last * n_experts", SIGN),
        at("traffic/windows.py", "f1 = 2 * served / (kept + needed)", "f1 = 2 * served / (kept + kept)", DENOMINATOR),
        at("traffic/locality.py", '{"layer": layer, **about', '{"layer": layer - 1, **about', LAYER),
        # windows that run over the end of their stretch
        at("traffic/windows.py", "+ window <= length", "+ window <= 2 * length", PADDING),
        at("traffic/stretches.py", "chosen = expert[self.row]", "chosen = expert[self.row][..., :1]", SLOTS),
    ),
}
