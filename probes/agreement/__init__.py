"""Which rankings of one store say the same: every probe that it allows, their rank correlations, and clusters of them.

asking.py       every ranking that a store allows, and why others cannot be made
correlation.py  Spearman's rank correlation of each two, over the experts that both rank
clusters.py     rankings that say the same, by average linkage
agreement.py    all of it together
"""

from probes.agreement.agreement import Agreement, agreement
from probes.agreement.asking import Asked, rankings
from probes.agreement.clusters import clusters
from probes.agreement.correlation import correlations

__all__ = ["Agreement", "Asked", "agreement", "clusters", "correlations", "rankings"]
