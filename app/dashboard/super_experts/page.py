"""The page from top to bottom: a rule, the experts that it finds, every size, the residual stream, attention sinks."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from workbench import Store, WorkbenchError

from ..questions import choice
from ..session import View, identity, scores_of
from ..widgets import chart, escaped, ranked_table, visible
from .magnitudes import magnitudes, residual_by_layer, residual_figure
from .sinks_panel import sinks_panel
from .together_panel import together_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from probes import MassiveRule

_AGAINST = {"ordinary": "the layer's tokens", "own": "the token itself"}


def show(view: View) -> None:
    """Draws the page."""
    st.header("Super experts")
    st.text("A few experts can write values hundreds of times larger than the others. Muting them breaks a model.")
    if view.store is None or view.store_path is None:
        st.text("No store of this model yet; make one under Captures and runs.")
        return
    rule, massive = choice("super_experts", "rule"), massive_rule()
    try:
        scores = scores_of(view.store_path, "super_experts", rule=rule, massive=massive)
    except WorkbenchError as error:
        st.error(escaped(error), icon=":material/error:")
        return
    found = scores.flagged("super expert")
    experts = "expert" if len(found) == 1 else "experts"
    st.text(f"{len(found)} super {experts} by this rule{': ' + ', '.join(map(str, found)) if found else ''}.")
    st.text("\n".join(f"• {visible(note)}" for note in scores.notes))
    magnitudes(view.store, scores)
    with st.expander("Every expert as a table"):
        ranked_table(scores, "super")
    _residual(view.store, massive)
    refs, n = sinks_panel(view, scores)
    together_panel(view, refs, n)


def massive_rule() -> "MassiveRule":
    """What counts as massive, from the form; the defaults are the probe's."""
    from probes import MassiveRule

    default = MassiveRule()
    with st.expander("What counts as a massive activation"):
        a, b, c, d = st.columns(4)
        absolute = a.number_input("Above", 0.0, value=default.absolute, key="massive-absolute")
        ratio = b.number_input("And above so many medians", 0.0, value=default.ratio, key="massive-ratio")
        growth = c.number_input("Formed by growing so many times", 1.0, value=default.growth, key="massive-growth")
        against: Any = d.selectbox(
            "Medians of", ["ordinary", "own"], key="massive-against", format_func=_AGAINST.__getitem__
        )
    return MassiveRule(absolute, ratio, growth, against)


def _residual(store: Store, rule: "MassiveRule") -> None:
    from probes.magnitudes import forming_layers

    st.subheader("Massive activations", divider="gray")
    frame = residual_by_layer(str(store.path), identity(store.path))
    forming = forming_layers(store, rule)
    chart(residual_figure(frame, rule, forming), "residual", frame)
    st.text(f"{_where(forming)} massive activations: {rule}.")


def _where(forming: "Sequence[int]") -> str:
    named = ", ".join(map(str, forming))
    return {0: "No layer forms", 1: f"Layer {named} forms"}.get(len(forming), f"Layers {named} form")
