"""How routing runs along a text: what a cache of experts would meet.

stretches.py  tokens that stand next to each other, as rows of one length
windows.py    experts of windows of a text: the best fixed choice
caches.py     experts in a cache that is updated at every token
measured.py   both of one layer, by cluster
locality.py   by layer with intervals, beside what uniform routing would give
capacity.py    what experts of limited capacity would drop, by position
"""

from probes.traffic.capacity import capacity
from probes.traffic.locality import locality

__all__ = ["capacity", "locality"]
