"""Which experts matter least, so that they could go.

sums.py            sums over the tokens read, by cluster and expert
saliency.py        weight, size of the output, frequency: REAP and its family
turning.py         the same times how far a token is turned, by domain
coalitions.py      what an expert adds to the sets that it is selected in
winning_logits.py  with which logits an expert wins; the nearest task of a prompt
forget_set.py      the router's softmax over what is to be forgotten
relevant_sets.py   the smallest set of each layer that a task's tokens go to
own_weights.py     sums over the weights of each expert
flatness.py        how flat its weights are
activation_norm.py how large the vectors are that it writes, or its weights
"""

from probes.importance.activation_norm import min_norm
from probes.importance.coalitions import shape
from probes.importance.flatness import aimer
from probes.importance.forget_set import unlearning_affinity
from probes.importance.relevant_sets import esft
from probes.importance.saliency import saliency
from probes.importance.turning import easy_ep
from probes.importance.winning_logits import tcess

__all__ = ["aimer", "easy_ep", "esft", "min_norm", "saliency", "shape", "tcess", "unlearning_affinity"]
