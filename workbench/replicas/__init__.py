"""Work by several replicas of a model: processes on one machine or many, started and watched by Ray.

cluster.py    where the replicas run, how many, and on how many GPUs each; a Ray that this starts itself is this machine's alone
actors.py     what runs in Ray's processes: a worker around an object, and the board that is told how far each is
pool.py       `Pool`: calls that all workers do together, or whoever is free; done again where a worker is lost
replica.py    one process with a model of its own, at work on a store
spreading.py  `capture_on`: one store by all replicas, shown in one bar
counting.py   `counting_on`: a store counted by shares, merged
"""

from workbench.replicas.cluster import Cluster
from workbench.replicas.counting import counting_on
from workbench.replicas.pool import Pool
from workbench.replicas.spreading import capture_on

__all__ = ["Cluster", "Pool", "capture_on", "counting_on"]
