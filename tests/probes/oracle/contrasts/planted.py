"""Five mistakes for drift, and for logits contrasted; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.importance.planted import SUMMED_SLOTS
from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, READ_SLOTS, SIGN, WRONG_LAYER, Mistake, at

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "drift": (
        at("contrasts/means.py", "np.array([-1.0, 1.0])", "np.array([1.0, -1.0])", SIGN),
        # a share of what the expert writes after tuning
        at("contrasts/means.py", "_ratio(after - before, before)", "_ratio(after - before, after)", DENOMINATOR),
        WRONG_LAYER,
        # every token of a response counts, also those not read and the last, which was never computed
        at(
            "contrasts/stores.py",
            "length = np.bincount(group[group >= 0])",
            "length = response_lengths(store)[sequence]",
            PADDING,
        ),
        SUMMED_SLOTS,
    ),
    "neuron": (
        at("contrasts/neurons.py", "means[0] - means[1], DECIMALS", "means[1] - means[0], DECIMALS", SIGN),
        # means over the responses that have a token of the expert
        at(
            "contrasts/neurons.py",
            "[feature[label == side].mean(axis=0) for side in (0, 1)]",
            "[(feature[label == s].sum(0) / (own.top[label == s] > -inf).sum(0).clip(1)) for s in (0, 1)]",
            DENOMINATOR,
        ),
        at(
            "contrasts/neurons.py",
            '[*store.key_columns, "expert", "neurons"], [layer])',
            '[*store.key_columns, "expert", "neurons"], store.layers[:1])',
            LAYER,
        ),
        # every token of a compared response counts, also those not read
        at("contrasts/neurons.py", "select(store, tokens, roles, used) & rows", "rows", PADDING),
        READ_SLOTS,
    ),
    "logit_contrast": (
        at("contrasts/logits.py", "np.array([1.0, -1.0])", "np.array([-1.0, 1.0])", SIGN),
        at("contrasts/logits.py", "sums / read.tokens[:, None]", "sums / read.tokens.mean()", DENOMINATOR),
        WRONG_LAYER,
        # every token of a compared response counts, also those not read
        at("contrasts/logits.py", "select(store, tokens, roles, used) & rows", "rows", PADDING),
        READ_SLOTS,
    ),
}
