"""What a worker knows of the requests that it runs: their plans as rows of the tables, and what is kept of their tokens.

Before each forward every token is told its row; after it the rows of requests that asked for them are copied off.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.routing import CompiledPlan
from workbench.serving.binding import Binding, bind
from workbench.serving.doses import Doses
from workbench.serving.layer import StepTensors
from workbench.serving.ledger import Ledger
from workbench.serving.plugin import Settings
from workbench.serving.scopes import Held, Rows, Stretch, stretches
from workbench.serving.tables import Vectors
from workbench.serving.taken import Piece, Waiting


class Asked(NamedTuple):
    """What a request carries in its `extra_args`, as `workbench.serving.requests` wrote it.

    plan     its edits; prompt: how many of its tokens count as the prompt
    keep     whether its slots are wanted; logits: of which layers the router's logits are
    read     how many of its last positions the next token's distribution is wanted of
    name     under which its dose is counted, together with those of other requests of this name; empty: it is not
    follow   its slots are kept until it has ended (`Waiting`): "slots" alone, or with token "ids"; empty: they are not
    """

    plan: Plan = Plan()
    prompt: int = 0
    keep: bool = False
    logits: tuple[int, ...] = ()
    read: int = 0
    name: str = ""
    follow: str = ""

    @classmethod
    def of(cls, extra: Mapping[str, Any] | None, n_tokens: int) -> "Asked":
        """Read from a request of `n_tokens` given tokens."""
        said = json.loads((extra or {}).get("expert_request", "{}"))
        plan = CompiledPlan.from_data(said["plan"]).plan if said.get("plan") else Plan()
        logits = tuple(said.get("logits", ()))
        prompt, read, name = said.get("prompt", n_tokens), said.get("read", 0), said.get("name", "")
        return cls(plan, prompt, bool(said.get("keep")), logits, read, name, said.get("follow", ""))

    @property
    def about(self) -> dict[str, Any]:
        """What a capture has to know of the request."""
        return {"name": self.name, "prompt": self.prompt, "plan": self.plan.digest if self.plan else ""}


class Span(NamedTuple):
    """A request's tokens of one forward: which rows they are, the positions that they have, and their ids if wanted."""

    request: str
    start: int
    positions: np.ndarray
    ids: np.ndarray | None = None

    @property
    def rows(self) -> slice:
        """Within the forward."""
        return slice(self.start, self.start + len(self.positions))


@dataclass
class Steps:
    """One model in the engine, bound. `spans` are the running forward's.

    is_eager  False: the model is traced or captured into graphs, which plans are not served in; then nothing is bound
    """

    model: Any
    settings: Settings
    n_tokens: int
    device: torch.device
    is_eager: bool = True
    asked: dict[str, Asked] = field(default_factory=dict[str, Asked])
    rows: dict[str, Rows] = field(default_factory=dict[str, Rows])
    kept: list[Piece] = field(default_factory=list[Piece])
    spans: list[Span] = field(default_factory=list[Span])
    doses: Doses = field(default_factory=Doses)

    def __post_init__(self) -> None:
        self.step = StepTensors(*(torch.zeros(self.n_tokens, dtype=torch.long, device=self.device) for _ in range(3)))
        self._vectors: dict[int, Vectors] = {}
        self.binding = Binding({}, ("its graphs are made before a plan is known; load with enforce_eager=True",))
        if self.is_eager:
            self.binding = bind(self.model, self.settings.rows, self._vectors_of, self.step)
        self.ledger = Ledger(self.settings.rows, self._write)
        self.waiting = Waiting(self.settings.waiting)

    # ---- requests come and go

    def begin(self, request: str, asked: Asked) -> None:
        """A request runs for the first time."""
        self.asked[request] = asked
        if asked.plan:
            try:
                self.rows[request] = self._rows(stretches(asked.plan.edits, asked.prompt))
            except WorkbenchError as error:
                if not asked.name:
                    raise
                self.doses.failed[asked.name] = str(error)  # whoever answers it says so; the others go on
                self.asked[request] = asked._replace(follow="")

    def _rows(self, found: Sequence[Stretch]) -> Rows:
        rows = list[int]()
        try:
            for stretch in found:
                rows.append(self.ledger.take(stretch.held))
        except WorkbenchError:
            for row in rows:
                self.ledger.give_back(row)
            raise
        return Rows(np.array([stretch.start for stretch in found]), np.array(rows))

    def end(self, requests: Iterable[str]) -> None:
        """Requests that will not run again give their rows back."""
        for request in requests:
            self.asked.pop(request, None)
            self.doses.end(request)
            self.waiting.end(request)
            for row in self.rows.pop(request, Rows(np.array([]), np.array([], int))).rows.tolist():
                self.ledger.give_back(row)

    # ---- a forward

    def before(self, spans: Sequence[Span]) -> None:
        """Tells every token its row."""
        self.spans = list(spans)
        row = np.zeros(self.n_tokens, np.int64)
        for span in self.spans:
            if span.request in self.rows:
                row[span.rows] = self.rows[span.request].at(span.positions)
        self.step.row.copy_(torch.from_numpy(row))
        self.step.changed.zero_()
        self.step.emptied.zero_()

    def after(self, hidden: torch.Tensor | None, compute_logits: Any) -> None:
        """Copies off what is wanted; nobody has a row any more until the next forward."""
        for span in self.spans:
            asked = self.asked[span.request]
            if asked.keep or asked.read:
                self.kept.append(self._piece(span, asked, hidden, compute_logits))
            if asked.follow and self.is_eager:
                self.waiting.add(span.request, span.positions, asked.about, partial(self._slots, span, asked))
        names = [self.asked[span.request].name for span in self.spans]
        self.doses.count(self.spans, names, self.step.changed, self.step.emptied)
        self.spans = []
        self.step.row.zero_()

    def take(self, requests: Sequence[str]) -> list[Piece]:
        """What was kept of these requests since it was asked for last."""
        wanted = set(requests)
        found = [piece for piece in self.kept if piece.request in wanted]
        self.kept = [piece for piece in self.kept if piece.request not in wanted]
        return found

    def _piece(self, span: Span, asked: Asked, hidden: torch.Tensor | None, compute_logits: Any) -> Piece:
        rows, arrays = span.rows, dict(self._slots(span, asked).arrays) if asked.keep else dict[str, np.ndarray]()
        arrays["changed"], arrays["emptied"] = (t[rows].cpu().numpy() for t in (self.step.changed, self.step.emptied))
        if asked.read and hidden is not None:
            first = max(asked.prompt - 1, int(span.positions[0]))
            read = hidden[span.start + first - int(span.positions[0]) : rows.stop]
            if len(read):
                arrays["scores"] = compute_logits(read).float().log_softmax(-1).cpu().numpy()
        return Piece(span.request, span.positions, arrays)

    def _slots(self, span: Span, asked: Asked) -> Piece:
        rows, arrays = span.rows, dict[str, np.ndarray]()
        for number, layer in self.binding.layers.items():
            assert layer.kept is not None, f"layer {number} routed nothing"
            arrays[f"index {number}"] = layer.kept.index[rows].int().cpu().numpy()
            arrays[f"weight {number}"] = layer.kept.weight[rows].float().cpu().numpy()
            if number in asked.logits and layer.kept.logits is not None:
                arrays[f"logits {number}"] = layer.kept.logits[rows].float().cpu().numpy()
        if span.ids is not None:
            arrays["ids"] = span.ids
        return Piece(span.request, span.positions, arrays)

    # ---- tables

    def _vectors_of(self, hidden: int) -> Vectors:
        if hidden not in self._vectors:
            self._vectors[hidden] = Vectors(self.settings.vectors, hidden, self.device)
        return self._vectors[hidden]

    def _write(self, row: int, held: Held) -> None:
        for number, layer in self.binding.layers.items():
            layer.tables.write(row, tuple(e for e in held if e.expert.layer == number))
        if not held:
            wanted = {e.value for held in self.ledger.held for e in held if isinstance(e.value, tuple)}
            for vectors in self._vectors.values():
                vectors.keep(wanted)
