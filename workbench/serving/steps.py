"""What a worker knows of the requests that it runs: their plans as rows of the tables, and what is kept of their tokens.

Before each forward every token is told its row; after it the rows of requests that asked for them are copied off.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.records import LayerRecord
from workbench.routing import CompiledPlan
from workbench.serving.binding import Binding, bind
from workbench.serving.doses import Doses
from workbench.serving.layer import Layer, StepTensors
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
        plan = _plan_of(json.dumps(said["plan"])) if said.get("plan") else Plan()
        logits = tuple(said.get("logits", ()))
        prompt, read, name = said.get("prompt", n_tokens), said.get("read", 0), said.get("name", "")
        return cls(plan, prompt, bool(said.get("keep")), logits, read, name, said.get("follow", ""))

    @property
    def about(self) -> dict[str, Any]:
        """What a capture has to know of the request."""
        return {"name": self.name, "prompt": self.prompt, "plan": self.plan.digest if self.plan else ""}


def _plan_of(text: str) -> Plan:
    plan = _PLANS.get(text)
    if plan is None:
        plan = _PLANS[text] = CompiledPlan.from_data(json.loads(text)).plan
    return plan


_PLANS = WeakValueDictionary[str, Plan]()
"""Plans of requests that run, by their text: as long as one of them has it, it is read once."""


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
        asked = [self.asked[span.request] for span in self.spans]
        kept = [span for span, its in zip(self.spans, asked, strict=True) if its.keep or its.follow]
        slots = Slots(self.binding.layers, kept)
        for span, its in zip(self.spans, asked, strict=True):
            if its.keep or its.read:
                self.kept.append(self._piece(span, its, slots, hidden, compute_logits))
            if its.follow and self.is_eager:
                self.waiting.add(span.request, span.positions, its.about, partial(slots.of, span, its.logits))
        self.doses.count(self.spans, [its.name for its in asked], self.step.changed, self.step.emptied)
        self.spans = []
        self.step.row.zero_()

    def take(self, requests: Sequence[str]) -> list[Piece]:
        """What was kept of these requests since it was asked for last."""
        wanted = set(requests)
        found = [apart(piece, self.binding.layers) for piece in self.kept if piece.request in wanted]
        self.kept = [piece for piece in self.kept if piece.request not in wanted]
        return found

    def waited(self) -> tuple[list[dict[str, Any]], list[Piece]]:
        """What is known of followed requests that have ended, and the rows of those that are whole; they are forgotten here."""
        said, pieces = self.waiting.take()
        return said, [apart(piece, self.binding.layers) for piece in pieces]

    def _piece(
        self, span: Span, asked: Asked, slots: "Slots", hidden: torch.Tensor | None, compute_logits: Any
    ) -> Piece:
        rows = span.rows
        arrays = dict(slots.of(span, asked.logits).arrays) if asked.keep else dict[str, np.ndarray]()
        arrays["changed"], arrays["emptied"] = (t[rows].cpu().numpy() for t in (self.step.changed, self.step.emptied))
        if asked.read and hidden is not None:
            first = max(asked.prompt - 1, int(span.positions[0]))
            read = hidden[span.start + first - int(span.positions[0]) : rows.stop]
            if len(read):
                arrays["scores"] = compute_logits(read).float().log_softmax(-1).cpu().numpy()
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


class Slots:
    """What the tokens of a forward's `spans` selected: brought from the device once for all, and only if asked for.

    All layers lie side by side in one array, so that a request's tokens are cut out once and not once a layer; `apart` undoes it.
    """

    def __init__(self, layers: Mapping[int, Layer], spans: Sequence[Span]) -> None:
        self.layers = layers
        ends = np.cumsum([len(span.positions) for span in spans])
        self._mine = {
            s.request: slice(int(end) - len(s.positions), int(end)) for s, end in zip(spans, ends, strict=True)
        }
        self._rows = [span.rows for span in spans]
        self._whole: dict[str, np.ndarray] = {}
        self._every, self._named = tuple(layers), _list(tuple(layers))

    def of(self, span: Span, logits: Collection[int]) -> Piece:
        """One span's; logits: of which layers the router's logits are wanted."""
        mine = self._mine[span.request]
        arrays = {
            name: self._block(name, self._every)[mine] for name in (f"index {self._named}", f"weight {self._named}")
        }
        if logits and (wanted := [n for n in self._every if n in logits and _kept(self.layers[n]).logits is not None]):
            name = f"logits {_list(wanted)}"
            arrays[name] = self._block(name, wanted)[mine]
        if span.ids is not None:
            arrays["ids"] = span.ids
        return Piece(span.request, span.positions, arrays)

    def _block(self, name: str, numbers: Sequence[int]) -> np.ndarray:
        if name not in self._whole:
            kind = name.partition(" ")[0]
            every = torch.cat([getattr(_kept(self.layers[n]), kind) for n in numbers], -1)
            rows = every[self._rows[0]] if len(self._rows) == 1 else torch.cat([every[rows] for rows in self._rows])
            self._whole[name] = rows.to(torch.int32 if kind == "index" else torch.float32).cpu().numpy()
        return self._whole[name]


def _kept(layer: Layer) -> LayerRecord:
    assert layer.kept is not None, f"layer {layer.number} routed nothing"
    return layer.kept


def _list(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def apart(piece: Piece, layers: Mapping[int, Layer]) -> Piece:
    """A piece with the arrays of each layer by themselves: "index 3", "weight 3" [tokens, k], "logits 3" [tokens, experts]."""
    arrays = dict[str, np.ndarray]()
    for name, array in piece.arrays.items():
        kind, _, numbers = name.partition(" ")
        if not numbers:
            arrays[name] = array
            continue
        found = [layers[int(n)] for n in numbers.split(",")]
        ends = np.cumsum([layer.n_experts if kind == "logits" else layer.top_k for layer in found])
        assert ends[-1] == array.shape[1], f"{name} has {array.shape[1]} columns"
        arrays |= {
            f"{kind} {x.number}": part for x, part in zip(found, np.split(array, ends[:-1], axis=1), strict=True)
        }
    return piece._replace(arrays=arrays)
