"""What an engine is to the rest: what it says up front that it can do, and two calls, `run` and `score`.

`workbench.backends.contract` tests an engine of one's own against what it says; CONTRIBUTING says how one is added.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor

from workbench.generation import SHAPING, Decoding, Made
from workbench.model import Facts
from workbench.plan import KINDS
from workbench.records import ForwardRecord, Step
from workbench.routing import CompiledPlan, Dose

SCOPES = frozenset({"phase", "positions", "span"})
"""What may limit an edit; see `workbench.plan.edits.Scope`."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do with its model. What it cannot is refused before anything runs.

    name      what `plan.json` says ran the forwards; a capture goes on with the engine that it was begun with
    edits     kinds of edit that it can make; scopes: what may limit one of them
    keep      what of a forward it can record beside the selected experts and their weights; None: not even those
    sampling  whether it draws tokens by seeds, at a temperature above 0
    scoring   whether it tells the distributions over given text (`score`)
    shaping   the options of a generation config that it heeds, of `workbench.generation.decoding.SHAPING`
    shared    whether shared experts can be edited and are recorded
    together  whether the rows of a batch may have plans of their own: then it has `run_each` as well (`TakesPlans`)
    why       reasons for what it cannot, by the name of a field above or of what is lacking in one
    here      whether its forwards run in this process, with torch's own threads
    """

    name: str
    edits: frozenset[str] = frozenset(KINDS)
    scopes: frozenset[str] = SCOPES
    keep: frozenset[str] | None = frozenset({"norms", "residual", "logits", "outputs"})
    sampling: bool = True
    scoring: bool = True
    shaping: frozenset[str] = frozenset(SHAPING)
    shared: bool = True
    together: bool = False
    why: Mapping[str, str] = field(default_factory=dict[str, str])
    here: bool = False


class Batch(NamedTuple):
    """Sequences that go through the model together.

    rows   token ids of each, without padding
    seeds  of each one's draws; empty where none are drawn
    read   for `score`: how many ids at the end of each are read; what stands before them counts as its prompt
    """

    rows: Sequence[Sequence[int]]
    seeds: Sequence[int] = ()
    read: Sequence[int] = ()


class Keep(NamedTuple):
    """What is recorded of each forward beside the slots: norms, residual, logits, outputs, router_input, inner.

    layers   limits all but norms and residual to these layers
    experts  limits outputs and inner to these (layer, expert) pairs; shared expert s is (layer, -1 - s)
    """

    what: frozenset[str] = frozenset()
    layers: Collection[int] | None = None
    experts: Collection[tuple[int, int]] | None = None


class Ran(NamedTuple):
    """What an engine hands over while it runs: one forward's worth, or as much as it gets at once.

    where   the tokens that were forwarded, as rows of the record; a sequence's in order
    record  what they did; None where nothing is kept
    made    the tokens that came out of these forwards; None where nothing is generated
    """

    where: Step
    record: ForwardRecord | None = None
    made: Made | None = None


class Backend(Protocol):
    """An engine with one model. Plans come compiled for this model and are all there is: an engine looks for no other.

    A plan is one for all rows of a batch. `CompiledPlan.to_data` takes it to another process.
    """

    @property
    def can(self) -> Capabilities:
        """What it can do with this model."""
        ...

    @property
    def facts(self) -> Facts:
        """What it says of its model."""
        ...

    def run(
        self,
        batch: Batch,
        plan: CompiledPlan,
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        dose: Dose | None = None,
    ) -> Generator[Ran, None, None]:
        """Runs the rows, and generates after them where `decoding` says how, until each has ended.

        Every token but the last generated one of each row is forwarded once; all of them are handed over, in whatever portions.
        Between two portions nobody is steered or recorded; closing the generator ends the run.

        keep  what to record; None: nothing
        dose  counts what the plan changes; None: nobody asks

        Greedily the tokens are those that transformers' own `generate(do_sample=False)` gives to each row alone; with a
        temperature each row's depend on its seed alone.
        """
        ...

    def score(self, batch: Batch, plan: CompiledPlan) -> Tensor:
        """Log-probabilities of every next token, float32 [rows, longest + 1, vocabulary], longest = max(batch.read).

        Aligned at the end: [:, -1] is behind the last id, [row, -1 - read[row]] before the first that is read;
        what stands before that is nobody's.
        """
        ...


class TakesPlans(Backend, Protocol):
    """An engine that has several plans in it at once (`Capabilities.together`)."""

    def run_each(
        self,
        batch: Batch,
        plans: Sequence[CompiledPlan],
        decoding: Decoding | None = None,
        keep: Keep | None = None,
        doses: Sequence[Dose | None] = (),
    ) -> Generator[Ran, None, None]:
        """`run`, with a plan for each row of the batch, and what counts its dose (rows may share one; empty: nobody asks)."""
        ...
