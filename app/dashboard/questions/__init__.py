"""What can be asked of a store, and with which widgets.

In reading order: offers (the classes, conditions and roles that it has), option_widgets (a probe's options), entropies and
measures (a number for every expert), colours (which of them the switchboard shows first).
"""

from .colours import (
    ALIKE,
    NO_STORE,
    THIS_ANSWER,
    Colouring,
    answer_colouring,
    colour_choices,
    colouring,
    strongest,
    telling,
)
from .measures import Measure, Measures, measures_for, notes_of, token_measure, values_of
from .offers import Offer, offer
from .option_widgets import (
    choice,
    default_of,
    label_named,
    label_options,
    one_of,
    option,
    other_store,
    own_options,
    p_values,
    parameters,
    roles,
    two_classes,
    where,
)

__all__ = [
    "ALIKE", "NO_STORE", "THIS_ANSWER", "Colouring", "Measure", "Measures", "Offer", "answer_colouring", "choice",
    "colour_choices", "colouring", "default_of", "label_named", "label_options", "measures_for", "notes_of", "offer", "one_of",
    "option", "other_store", "own_options", "p_values", "parameters", "roles", "strongest", "telling", "token_measure",
    "two_classes", "values_of", "where",
]  # fmt: skip
