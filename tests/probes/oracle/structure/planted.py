"""Five mistakes for every probe of structure; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, SIGN, SLOTS, Mistake, at

# the slot is taken for the expert
SLOT_FOR_EXPERT = at("structure/steps.py", "out[row, expert[row, slot]] = True", "out[row, slot] = True", SLOTS)

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "pathways": (
        at("structure/pathways.py", "-frame[by].round", "frame[by].round", SIGN),
        at("structure/pathways.py", "np.divide(n, first,", "np.divide(n, second,", DENOMINATOR),
        at("structure/pathways.py", '"layer": step.layer,', '"layer": step.layer - 1,', LAYER),
        # every token counts, also those not read and the last, which was never computed
        at("structure/pathways.py", "group >= 0, resampled", "group >= -1, resampled", PADDING),
        SLOT_FOR_EXPERT,
    ),
    "router_span": (
        at("structure/cosines.py", "return rows - rows.mean(axis=0)", "return rows + rows.mean(axis=0)", SIGN),
        at("structure/spans.py", "fewer = min(len(", "fewer = max(len(", DENOMINATOR),
        at("structure/spans.py", '"layer": own.layer,', '"layer": own.layer - 1,', LAYER),
        # a direction in which nothing lies counts as one
        at("structure/spans.py", "* max(rows.shape) * _EPSILON", "* 0 - 1", PADDING),
        # as many experts as a token has slots
        at("structure/spans.py", "centred=centred))", "centred=centred)[:2])", SLOTS),
    ),
    "path_clusters": (
        at("structure/bundles.py", "nearest.argmin()", "nearest.argmax()", SIGN),
        at("structure/paths.py", "max(len(found.of) - size, 1)", "len(found.of)", DENOMINATOR),
        at("structure/paths.py", '"layer": layer, "expert": int', '"layer": layer - 1, "expert": int', LAYER),
        # every token that was computed counts, also those not read
        at("structure/paths.py", "np.flatnonzero(group >= 0)", "np.flatnonzero(store.routed_tokens)", PADDING),
        at("structure/bundles.py", ".expert[rows]", ".expert[rows, :1]", SLOTS),
    ),
    "similarity": (
        at("structure/similarity.py", '-frame["cosine"].fillna(-2)', 'frame["cosine"].fillna(-2)', SIGN),
        # over the mean square of all rows, not the two
        at(
            "structure/cosines.py",
            "below = np.outer(size, size)",
            "below = np.full_like(products, (size**2).mean())",
            DENOMINATOR,
        ),
        at("structure/similarity.py", '{"layer": found.layer,', '{"layer": found.layer - 1,', LAYER),
        # every token counts, also those not read
        at("structure/similarity.py", "return layers, group >= 0, (", "return layers, group >= -1, (", PADDING),
        # the usual CKA, near 1 for any two where tokens are few: the diagonal stays in
        at("structure/cosines.py", "product - diagonals[0] @ diagonals[1] + total", "product + total", DENOMINATOR),
        # the first row is the first expert's, whatever it says
        at("structure/cosines.py", 'rows[frame["expert"].to_numpy()] =', "rows[np.arange(len(frame))] =", SLOTS),
    ),
    "placement": (
        at("structure/assignment.py", "_solved(-gain.ravel()", "_solved(gain.ravel()", SIGN),
        at(
            "structure/crossings.py",
            "return 1 - staying(counted, devices) / pairs_of(counted)",
            "return 1 - staying(counted, devices) / sum(int(step.n.sum()) for step in counted)",
            DENOMINATOR,
        ),
        at("structure/placement.py", '"layer": layer, "expert"', '"layer": layer - 1, "expert"', LAYER),
        # every token counts, also those not read and the last, which was never computed
        at("structure/placement.py", "group >= 0, resampled", "group >= -1, resampled", PADDING),
        SLOT_FOR_EXPERT,
    ),
}
