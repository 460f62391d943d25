"""One capture by several replicas of a model: processes on one machine or many, started and watched by Ray.

cluster.py    where the replicas run, how many, and on how many GPUs each; a Ray that this starts itself is this machine's alone
replica.py    one process with a model of its own, at work on a store
spreading.py  `capture_on`: replicas started, told apart, shown in one bar, begun again where one is lost
"""

from workbench.replicas.cluster import Cluster
from workbench.replicas.spreading import capture_on

__all__ = ["Cluster", "capture_on"]
