"""Where values are not finite, in one sentence, and which experts made them: of what a capture counted (`Store.nonfinite`)."""

from typing import Any

from workbench.anatomy import ExpertRef
from workbench.errors import listed

STAGES = ("router_logits", "weight", "output", "routed_change", "residual", "logits")
"""What is looked at, in the order in which a layer computes it; `logits` are the vocabulary's, one layer above the last."""
_NAMED = 4
_SAID = {"weight": "routing weight", "router_logits": "router logit", "logits": "next-token logits"}


def said(frame: Any) -> str:
    """Where values are not finite, in one sentence: the first layer with its experts, and how far it spread; "" for none.

    `frame` (a DataFrame) has layer, what, expert, n_tokens and n_own as `Store.nonfinite` has.
    """
    if not len(frame):
        return ""
    at = int(frame["layer"].min())
    first, rest = frame[frame["layer"] == at], frame[frame["layer"] > at]
    parts = [_phrase(first[first["what"] == what], what) for what in STAGES if (first["what"] == what).any()]
    others, later = own_experts(rest), sorted({int(layer) for layer in rest["layer"]})
    return (
        f"Values are not finite, first {'in the embeddings' if at < 0 else f'in layer {at}'}: {', '.join(parts)}"
        + (f"; of finite inputs also by {listed(others, _NAMED)}" if others else "")
        + (f"; and in {len(later)} layers above" if later else "")
        + "."
    )


def own_experts(frame: Any) -> tuple[ExpertRef, ...]:
    """The experts that made such values from finite inputs, in order of layer and number."""
    return _refs(frame[(frame["what"] == "output") & (frame["n_own"].fillna(0) > 0)])


def experts_with(frame: Any) -> tuple[ExpertRef, ...]:
    """Every expert with a value of its own that is not finite: an output, a routing weight, a router logit."""
    return _refs(frame[frame["expert"].notna()])


def _phrase(rows: Any, what: str) -> str:
    """What is not finite, whose, and at how many tokens; of outputs those whose input was finite, where there are any."""
    name = _SAID.get(what, what)
    if rows["expert"].isna().all():
        return f"{name} at {int(rows['n_tokens'].sum())} tokens"
    own = rows[rows["n_own"].fillna(0) > 0]
    totals: Any = (own if len(own) else rows).groupby(["layer", "expert"], sort=True)["n_tokens"].sum()
    return f"{name} of {listed([f'{_ref(*key)} at {n} tokens' for key, n in totals.items()], _NAMED)}"


def _refs(rows: Any) -> tuple[ExpertRef, ...]:
    pairs = zip(rows["layer"], rows["expert"], strict=True)
    return tuple(sorted({_ref(layer, number) for layer, number in pairs}))


def _ref(layer: Any, number: Any) -> ExpertRef:
    """The expert that a store numbers so: shared expert s is -1 - s."""
    return ExpertRef(int(layer), int(number) if number >= 0 else -1 - int(number), bool(number < 0))
