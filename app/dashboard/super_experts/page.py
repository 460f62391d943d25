"""The page from top to bottom: a rule, the experts that it finds, every size, the residual stream, attention sinks."""

import streamlit as st

from workbench import Store, WorkbenchError

from ..questions import choice
from ..session import View, identity, scores_of
from ..widgets import chart, escaped, ranked_table, visible
from .magnitudes import magnitudes, residual_by_layer, residual_figure
from .sinks_panel import sinks_panel


def show(view: View) -> None:
    """Draws the page."""
    st.header("Super experts")
    st.text("A few experts can write values hundreds of times larger than the others. Muting them breaks a model.")
    if view.store is None or view.store_path is None:
        st.text("No store of this model yet; make one under Captures and runs.")
        return
    rule = choice("super_experts", "rule")
    try:
        scores = scores_of(view.store_path, "super_experts", rule=rule)
    except WorkbenchError as error:
        st.error(escaped(error), icon=":material/error:")
        return
    found = scores.flagged("super expert")
    st.text(f"{len(found)} super experts by this rule{': ' + ', '.join(map(str, found)) if found else ''}.")
    st.text("\n".join(f"• {visible(note)}" for note in scores.notes))
    magnitudes(view.store, scores)
    with st.expander("Every expert as a table"):
        ranked_table(scores, "super")
    _residual(view.store)
    sinks_panel(view, scores)


def _residual(store: Store) -> None:
    from probes.magnitudes import MassiveRule, forming_layers

    st.subheader("Massive activations", divider="gray")
    rule = MassiveRule()
    frame = residual_by_layer(str(store.path), identity(store.path))
    forming = forming_layers(store, rule)
    chart(residual_figure(frame, rule, forming), "residual", frame)
    where = f"Layers {', '.join(map(str, forming))} form" if forming else "No layer forms"
    st.text(f"{where} massive activations: {rule}.")
