"""Five mistakes for every probe of specialisation; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import (
    DENOMINATOR,
    FIRST_OF_READ,
    LAYER,
    PADDING,
    READ_SLOTS,
    SIGN,
    SLOTS,
    UNREAD,
    WRONG_LAYER,
    Mistake,
    at,
)

MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "token_specialisation": (
        at("specialisation/token_specialisation.py", '"excess": bits - shuffled', '"excess": shuffled - bits', SIGN),
        at(
            "specialisation/information.py",
            "np.log2(times / expected)",
            "np.log2(times / of_kind[cell // width])",
            DENOMINATOR,
        ),
        at("specialisation/token_specialisation.py", '{"layer": layer, **about', '{"layer": layer + 1, **about', LAYER),
        # the last token of a response, which was never computed, counts as an occurrence of its id
        at(
            "specialisation/token_specialisation.py",
            "read = group >= 0",
            "read = ~(group >= 0) | (group >= 0)",
            PADDING,
        ),
        at(
            "specialisation/information.py",
            "return code[row], expert[row, slot]",
            "return code[row], expert[row, 0]",
            SLOTS,
        ),
    ),
    "difficulty": (
        at("specialisation/experts_needed.py", "-np.sort(-shares, axis=1)", "np.sort(shares, axis=1)", SIGN),
        at(
            "specialisation/experts_needed.py",
            "/ np.bincount(of_row, times[rows])",
            "/ np.bincount(of_row)",
            DENOMINATOR,
        ),
        at(
            "specialisation/experts_needed.py",
            "store.routing(layer).weight",
            "store.routing(store.layers[-1]).weight",
            LAYER,
        ),
        # tokens that are not read, and the last of a response, which was never computed, need experts too
        at("specialisation/experts_needed.py", "(store, layer, group >= 0)", "(store, layer, group >= -1)", PADDING),
        at(
            "specialisation/experts_needed.py",
            "weight[rows].astype(np.float64)",
            "weight[rows, :1].astype(np.float64)",
            SLOTS,
        ),
    ),
    "describe": (
        at("specialisation/labels.py", "np.divide(wins, pairs,", "np.divide(pairs - wins, pairs,", SIGN),
        # the expert's share of selections, not of tokens
        at(
            "specialisation/labels.py",
            "k.sum(axis=0) / max(len(word), 1)",
            "k.sum(axis=0) / max(len(token), 1)",
            DENOMINATOR,
        ),
        at("specialisation/described.py", '"layer": layer, "expert"', '"layer": layer - 1, "expert"', LAYER),
        # tokens that are not read, and the last, which was never computed, describe too
        at("specialisation/described.py", "(group >= 0) & (out == held)", "(out == held)", PADDING),
        at(
            "specialisation/labels.py",
            "token, slot = np.nonzero(expert >= 0)",
            "token, slot = np.nonzero(expert[:, :1] >= 0)",
            SLOTS,
        ),
    ),
    "decode": (
        at("specialisation/decoded.py", '-found["share"]', 'found["share"]', SIGN),
        # how many there are, not how many begin alike
        at("specialisation/decoded.py", "int(times[i]) for i in ids", "len(ids) for i in ids", DENOMINATOR),
        at("specialisation/decoded.py", 'frame["layer"].to_numpy(),', 'frame["layer"].to_numpy() - 1,', LAYER),
        # an expert as a whole counts as one more neuron
        at("specialisation/decoded.py", "else ~whole)", "else whole | ~whole)", PADDING),
        # the second word for the first
        at("specialisation/decoded.py", "tokens[0] for tokens in", "tokens[1] for tokens in", SLOTS),
    ),
    "committee": (
        at("specialisation/covering.py", "mean > mean[out] + 1e-12", "mean < mean[out] - 1e-12", SIGN),
        at(
            "specialisation/standing_committee.py",
            "total / total.sum(axis=1, keepdims=True)",
            "total / total.sum()",
            DENOMINATOR,
        ),
        at("specialisation/standing_committee.py", '"layer": layer, "expert"', '"layer": layer + 1, "expert"', LAYER),
        # tokens that were not asked for carry routing too
        at(
            "specialisation/standing_committee.py",
            "mask = select(store, tokens, roles, used) & rows",
            "mask = rows",
            PADDING,
        ),
        at("reading/units.py", "store.counts(mask, number[row])", FIRST_OF_READ, SLOTS),
    ),
    "domain_specialisation": (
        at("specialisation/domains.py", "np.log2(len(rates)) + (", "np.log2(len(rates)) - (", SIGN),
        at("specialisation/domains.py", "(member * tokens).sum(axis=-1", "member.sum(axis=-1", DENOMINATOR),
        WRONG_LAYER,
        UNREAD,
        READ_SLOTS,
    ),
}
