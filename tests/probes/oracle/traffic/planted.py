"""Five mistakes for every probe of traffic; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, SIGN, SLOTS, Mistake, at

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "locality": (
        at("traffic/caches.py", "recent = last * n_experts", "recent = -last * n_experts", SIGN),
        at("traffic/windows.py", "f1 = 2 * served / (kept + needed)", "f1 = 2 * served / (kept + kept)", DENOMINATOR),
        at("traffic/locality.py", '{"layer": layer, **about', '{"layer": layer - 1, **about', LAYER),
        # windows that run over the end of their stretch
        at("traffic/windows.py", "+ window <= length", "+ window <= 2 * length", PADDING),
        at("traffic/stretches.py", "chosen = expert[self.row]", "chosen = expert[self.row][..., :1]", SLOTS),
    ),
}
