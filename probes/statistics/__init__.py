"""What chance could do: intervals and p-values over all experts at once, whatever the score.

permute.py      relabellings of blocks of units within strata
exchange.py     who exchanges labels with whom, and what is resampled together
two_stores.py   the same for two stores as one sample
adjust.py       p-values over many experts
inference.py    from replicates to intervals and p-values
difference.py   the difference of a rate between classes
ratio.py        the interval of a ratio of sums
shift.py        markers that shift around their sequence
association.py  whether markers and selections meet more than by chance
"""

from probes.statistics.adjust import Adjust, check_adjust, holm
from probes.statistics.association import Given, association_test
from probes.statistics.difference import Estimate, Sample, class_members, difference, effective_size
from probes.statistics.exchange import Exchange, Permute, exchange, relabelled, resampled
from probes.statistics.inference import Tested, interval, permutation_test
from probes.statistics.ratio import ratio_interval
from probes.statistics.two_stores import Side, exchange_stores

__all__ = [
    "Adjust",
    "Estimate",
    "Exchange",
    "Given",
    "Permute",
    "Sample",
    "Side",
    "Tested",
    "association_test",
    "check_adjust",
    "class_members",
    "difference",
    "effective_size",
    "exchange",
    "exchange_stores",
    "holm",
    "interval",
    "permutation_test",
    "ratio_interval",
    "relabelled",
    "resampled",
]
