"""What is served, what all sessions share, and what one of them looks at.

In reading order: turns (a fair queue for a model), machines (models and stores, opened once), catalog (what can be asked for,
by name), view (what this session looks at), layers (its layer), who (which session it is), error_sentences (what goes wrong,
on the page).
"""

from .catalog import BUNDLED, Catalog, catalog_from
from .error_sentences import sentences
from .layers import current_layer, layer_box, layer_slider, look_at
from .machines import Identity, Machine, ahead_of, identity, scores_of, store_at
from .turns import Left
from .view import View, choose, current_view, fitting_stores, plan, set_plan, undo, write_url
from .who import is_there, session

__all__ = [
    "BUNDLED", "Catalog", "Identity", "Left", "Machine", "View", "ahead_of", "catalog_from", "choose",
    "current_layer", "current_view", "fitting_stores", "identity", "is_there", "layer_box", "layer_slider", "look_at", "plan",
    "scores_of", "sentences", "session", "set_plan", "store_at", "undo", "write_url",
]  # fmt: skip
