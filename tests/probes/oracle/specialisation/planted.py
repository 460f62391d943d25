"""Five mistakes for every probe of specialisation; see `tests.probes.oracle.planted`."""

from tests.probes.oracle.planted import DENOMINATOR, LAYER, PADDING, SIGN, SLOTS, Mistake, at

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
}
