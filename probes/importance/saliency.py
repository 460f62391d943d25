"""Which experts add much to the residual stream: REAP, and the family of scores that it belongs to."""

from typing import TYPE_CHECKING

import numpy as np

from probes.checked import checked
from probes.importance.sums import Received, reading, slot_sums
from probes.ranking import ExpertScores, assemble
from probes.reading import Tokens, describe
from probes.statistics import ratio_interval
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.store import Store

LEAST = "the experts that can go are the last rows: pruning takes the lowest scores"
_MEMBERS: dict[tuple[bool, float, float], str] = {
    (False, 1, 1): "REAP",
    (True, 0, 1): "EAN",
    (True, 1, 1): "weighted EAN",
    (False, 0, 1): "MAN",
    (False, 0, 2): "MSAN",
    (True, 0, 0): "frequency",
    (True, 1, 0): "gate mass",
}


@checked
def saliency(
    store: "Store",
    *,
    frequency: bool = False,
    gate: float = 1.0,
    power: float = 1.0,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
    cluster: str = "auto",
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> ExpertScores:
    """How much an expert adds to the residual stream, as its routing weight and the size of its output say.

        score[e] = sum over the tokens t that selected e of  w[t, e]^gate * |y[t, e]|^power,  divided by
                   the tokens that selected e              (frequency=False), or
                   all tokens read                         (frequency=True)

    w  the routing weight that the expert *received*, as it was multiplied with its output (after top-k renormalisation and
       scaling, where the model has them): never a softmax of ours
    |y|  L2 norm of the expert's own output, before the weight

    | member       | frequency | gate | power | source |
    | REAP         | no        | 1    | 1     | arXiv 2510.13999 (the repository's code was read) |
    | EAN          | yes       | 0    | 1     | in the repository of REAP |
    | weighted EAN | yes       | 1    | 1     | in the repository of REAP |
    | MAN          | no        | 0    | 1     | arXiv 2606.15716 (abstract) |
    | MSAN         | no        | 0    | 2     | arXiv 2606.15716 (abstract) |
    | frequency    | yes       | 0    | 0     | a baseline of EASY-EP, arXiv 2504.06792 |
    | gate mass    | yes       | 1    | 0     | a baseline of EASY-EP |

    tokens, roles, where, cluster  as in `ftri`; by default prompt and response, without the chat template

    Range [0, inf): residual-stream units to the power of `power`. An expert never selected (flag "dead") has score 0 with
    frequency, and none without: its mean is over nothing. n: tokens read that selected it with a finite value. The interval
    resamples clusters; no p-value: a size has no null. Shared experts are left out, since every token uses them. The
    experts that can go are the *last* rows, since pruning takes the lowest scores, and a note says so: no score is negative.

    Theirs: sums of EAN and gate mass are divided by the tokens read here, which ranks alike and makes stores comparable
    (ours). Writing them as one family with three exponents is ours, and so are intervals. MAN's and MSAN's code was not
    read. The rule of the abstract: to prune for no task take a mean without the gate, to prune for a task keep both.

    Not evidence that an expert can go: a large vector may be cancelled by another, a small one may decide. Switch off, and
    compare with random experts. Memory: 16 bytes a cluster and expert, no slot is held.
    Raises `WorkbenchError` for exponents below 0 or so large that values overflow, and where the store has no norms or weights
    and they are asked for.
    """
    if min(gate, power) < 0:
        raise WorkbenchError(f"gate={gate:g} and power={power:g} are exponents of a saliency; give 0 or more for both.")
    read = reading(store, tokens, roles, where, cluster, weighted=gate > 0, draws=n_bootstrap)
    columns = (*(["weight"] if gate else []), *(["output_l2"] if power else []))
    found = slot_sums(store, read.of_row, columns, lambda _, slots: _value(slots, gate, power))
    over = read.tokens[:, None] if frequency else found.n
    below = over.sum(axis=0)
    score = np.divide(found.total.sum(axis=0), below, out=np.full(len(found.axis.layer), np.nan), where=below > 0)
    low, high, why = ratio_interval(found.total, over, read.tokens, n_bootstrap, seed)
    options = {"frequency": frequency, "gate": gate, "power": power, "tokens": describe(tokens, roles), "roles": roles}
    options |= {"where": where, "cluster": cluster, "n_bootstrap": n_bootstrap, "seed": seed}
    columns_of = {"score": score, "n": found.n.sum(axis=0), "low": low, "high": high}
    notes = (_said(frequency, gate, power), LEAST, *read.notes, *why, "no p-value: a size has no null")
    return assemble(store, "saliency", options, found.axis, columns_of, notes)


def _value(slots: Received, gate: float, power: float) -> np.ndarray:
    """[slots]; 0^0 is 1: an exponent of 0 leaves the factor out. What is over the largest number would be left out unseen."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = slots.weight**gate * slots.norm**power
    over = ~np.isfinite(found)
    if over.any() and np.isfinite(slots.weight[over] + slots.norm[over]).any():
        raise WorkbenchError(
            f"gate={gate:g} and power={power:g} take weights or sizes of outputs over the largest number there is "
            f"(1.8e308); give smaller exponents, such as 1 or 2."
        )
    return found


def _said(frequency: bool, gate: float, power: float) -> str:
    name = _MEMBERS.get((frequency, gate, power), "no member with a name")
    over = "all tokens read" if frequency else "the tokens that selected the expert"
    return f"{name}: the mean of weight^{gate:g} x |output|^{power:g} over {over}"
