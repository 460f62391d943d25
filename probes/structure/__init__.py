"""How experts belong together: the paths that tokens take from layer to layer, which are alike, what routers see.

work.py        what a count takes, said before it starts, or without starting it
steps.py       who is selected in one MoE layer and in the next
lifts.py       how sure a lift is
pathways.py    which expert of the next layer follows an expert, and how much more than by chance
assignment.py  experts on devices by linear programs
crossings.py   how much crosses from device to device
placement.py   which experts should lie on one device
cosines.py     experts of a layer compared: their router's rows, logits, outputs
alike.py       groups of experts that are alike
similarity.py  which experts of a layer are alike, and how many are one too many
bundles.py     tokens in bundles by the whole of their path
paths.py       the experts that make up each bundle
spans.py       what of the stream each router can see
"""

from probes.structure.paths import path_clusters
from probes.structure.pathways import pathways
from probes.structure.placement import placement
from probes.structure.similarity import similarity
from probes.structure.spans import router_span
from probes.structure.work import ahead

__all__ = ["ahead", "path_clusters", "pathways", "placement", "router_span", "similarity"]
