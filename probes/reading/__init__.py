"""What is read of a store: which tokens, of which classes and pairs, counted into which units.

axis.py        the experts in one order
masks.py       tokens by role, phase and position, as a mask
content.py     what was said, apart from what a chat template puts around it
tokens.py      tokens by name: prompt, response, first answer
classes.py     which responses are compared: labels, classifiers, conditions on prompts
markers.py     where a marker such as <think> stands
occurrence.py  occurrences of markers, and who was selected at them
received.py    what they received of each expert, added up
routed.py      which routed tokens are read, response by response
router_logits.py  the router's logits of the tokens read
shared_end.py  the tokens with which the prompts of a pair both end
units.py       what compared responses selected, counted response by response
"""

from probes.reading.axis import Axis, expert_axis
from probes.reading.classes import Classes, check_label, classes, label_values, prompt_column, used_prompts
from probes.reading.content import content, template_notes
from probes.reading.markers import Marker, find_marker
from probes.reading.masks import token_mask
from probes.reading.occurrence import Counted, Places, asked_of_template, count_occurrences, places_of
from probes.reading.received import Received, Sums, received, slot_sums
from probes.reading.routed import routed_units
from probes.reading.router_logits import add_rows, layers_with_logits, router_logits
from probes.reading.shared_end import shared_end
from probes.reading.tokens import NAMES, Tokens, describe, prompt_length, prompt_of_row, select, sequence_of_row, whole
from probes.reading.units import Read, class_notes, read_units, used_rows

__all__ = [
    "NAMES",
    "Axis",
    "Classes",
    "Counted",
    "Marker",
    "Places",
    "Read",
    "Received",
    "Sums",
    "Tokens",
    "add_rows",
    "asked_of_template",
    "check_label",
    "class_notes",
    "classes",
    "content",
    "count_occurrences",
    "describe",
    "expert_axis",
    "find_marker",
    "label_values",
    "layers_with_logits",
    "places_of",
    "prompt_column",
    "prompt_length",
    "prompt_of_row",
    "read_units",
    "received",
    "routed_units",
    "router_logits",
    "select",
    "sequence_of_row",
    "shared_end",
    "slot_sums",
    "template_notes",
    "token_mask",
    "used_prompts",
    "used_rows",
    "whole",
]
