"""What can be asked of a store, and with which widgets.

In reading order: offers (the classes, conditions and roles that it has), option_widgets (a probe's options), colours (what
the switchboard shows), measures (what the atlas shows).
"""

from .colours import CHOICES, THIS_ANSWER, Colouring, colouring, ranked
from .measures import Measure, Measures, measures_for, notes_of, token_measure, values_of
from .offers import Offer, offer
from .option_widgets import (
    choice,
    default_of,
    one_of,
    option,
    own_options,
    p_values,
    parameters,
    roles,
    two_classes,
    where,
)

__all__ = [
    "CHOICES", "THIS_ANSWER", "Colouring", "Measure", "Measures", "Offer", "choice", "colouring", "default_of",
    "measures_for", "notes_of", "offer", "one_of", "option", "own_options", "p_values", "parameters", "ranked", "roles",
    "token_measure", "two_classes", "values_of", "where",
]  # fmt: skip
