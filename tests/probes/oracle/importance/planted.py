"""Five mistakes for every probe of importance; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import (
    DENOMINATOR,
    LAYER,
    PADDING,
    SIGN,
    SLOT_COLUMN,
    SLOTS,
    WRONG_LAYER,
    Mistake,
    at,
)

SUMMED_SLOTS = at("reading/received.py", '"expert", *columns]', '"slot", *columns]', SLOTS, SLOT_COLUMN)
# every token of a response counts, also those not read and the last, which was never computed
UNREAD = at(
    "importance/sums.py",
    "read = np.bincount(of_row[of_row >= 0])",
    "read = np.bincount(of_unit, response_lengths(store)[sequence])",
    PADDING,
)

# the first row is the first expert's, whatever it says
ROWS_IN_ORDER = at(
    "importance/own_weights.py",
    'from_frame(frame[["layer", "expert"]])',
    'from_frame(frame[["layer", "expert"]].sort_values(["layer", "expert"]))',
    SLOTS,
)

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "aimer": (
        # the other way round
        at("importance/flatness.py", "np.divide(mean, np.sqrt(square),", "np.divide(np.sqrt(square), mean,", SIGN),
        # a mean over experts of one size, as if none were smaller
        at("importance/flatness.py", "own.sum_squares / own.n\n", "own.sum_squares / own.n.max()\n", DENOMINATOR),
        at("importance/own_weights.py", "Axis(axis.layer[kept],", "Axis(axis.layer[kept] - 1,", LAYER),
        # an expert without weights counts as one of zeros
        at("importance/own_weights.py", "kept = n > 0", "kept = n >= 0", PADDING),
        ROWS_IN_ORDER,
    ),
    "min_norm": (
        at(
            "importance/activation_norm.py",
            '"score": np.sqrt(own.sum_squares)',
            '"score": -np.sqrt(own.sum_squares)',
            SIGN,
        ),
        at("importance/activation_norm.py", 'frequency=per == "token"', 'frequency=per != "token"', DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        SUMMED_SLOTS,
    ),
    "saliency": (
        at("importance/saliency.py", "found = slots.weight**gate", "found = -(slots.weight**gate)", SIGN),
        at("importance/saliency.py", "if frequency else found.n\n", "if not frequency else found.n\n", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        SUMMED_SLOTS,
    ),
    "esft": (
        at("importance/relevant_sets.py", "ascending=[False, True]", "ascending=[True, True]", SIGN),
        # a share of the whole model's selections, not of its layer's
        at(
            "importance/relevant_sets.py",
            "return made[:, of]",
            "return 0 * made[:, of] + made.sum(axis=1, keepdims=True)",
            DENOMINATOR,
        ),
        WRONG_LAYER,
        UNREAD,
        SUMMED_SLOTS,
    ),
    "easy_ep": (
        at("importance/turning.py", "np.maximum(change[row >= 0], 0)", "-np.maximum(change[row >= 0], 0)", SIGN),
        at("importance/turning.py", "/ read.tokens.sum()", "/ len(read.tokens)", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        SUMMED_SLOTS,
    ),
    "shape": (
        at(
            "importance/coalitions.py",
            "np.minimum.at(alpha, member[real], v[real] / completed[real])",
            "np.maximum.at(alpha, member[real], v[real] / completed[real])",
            SIGN,
        ),
        at("importance/coalitions.py", "/ read.tokens.sum()", "/ len(n)", DENOMINATOR),
        WRONG_LAYER,
        # tokens that are not read, and those that were never computed, have sets too
        at("importance/coalitions.py", ".expert[read.of_row >= 0]", ".expert", PADDING),
        # the same experts in another order of slots are another set
        at("importance/coalitions.py", "np.unique(np.sort(expert, axis=1), axis=0", "np.unique(expert, axis=0", SLOTS),
    ),
    "unlearning_affinity": (
        at(
            "importance/forget_set.py",
            "np.exp(logits - logits.max",
            "np.exp(logits.min",
            SIGN,
            ("keepdims=True))\n", "keepdims=True) - logits)\n"),
        ),
        # all tokens have equal say, not all responses
        at("importance/forget_set.py", "* length[group[row]][:, None]", "* length.mean()", DENOMINATOR),
        WRONG_LAYER,
        at(
            "importance/forget_set.py",
            "length = np.bincount(group[group >= 0], minlength=len(of_unit))",
            "length = response_lengths(store)[response_lengths(store) > 0][: len(of_unit)]",
            PADDING,
        ),
        at(
            "importance/forget_set.py",
            "store.counts(None, group_of_all, layers=layers)",
            "first_slot_counts(store, None, group_of_all)",
            SLOTS,
        ),
    ),
    "tcess": (
        at("importance/winning_logits.py", "logits.argmax(axis=1)", "logits.argmin(axis=1)", SIGN),
        # over the tokens that it wins
        at(
            "importance/winning_logits.py",
            "pattern = total / read[:, None]",
            "pattern = total / np.maximum(n, 1)",
            DENOMINATOR,
        ),
        WRONG_LAYER,
        at(
            "importance/winning_logits.py",
            "read = np.bincount(of_row[of_row >= 0], minlength=len(names))",
            "read = np.bincount(np.maximum(of_row, 0), minlength=len(names))",
            PADDING,
        ),
        # the largest logit is the first expert's, the next the second's
        at(
            "reading/router_logits.py",
            "logits[kept].astype(np.float64)",
            "-np.sort(-logits[kept], axis=1).astype(np.float64)",
            SLOTS,
        ),
    ),
}
