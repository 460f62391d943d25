"""What to change in a model, as a value: `Plan`, a set of edits that prints, compares, joins with `|` and goes to JSON.

Every face (code, command line, TOML, dashboard) makes the same object. Applying one is `workbench.hooks.steering`'s work.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from workbench.anatomy import Anatomy, ExpertRef, as_ref, joined, parse_experts
from workbench.errors import WorkbenchError
from workbench.paths import given_path
from workbench.plan.controls import random_like
from workbench.plan.edits import KINDS, TOKEN, Edit, Kind, Phase, Scope, parse_positions, parse_token
from workbench.plan.feasible import check_edits
from workbench.storage import write_text

Experts = str | ExpertRef | Iterable[ExpertRef | str | tuple[int, int]]
_CLAUSE = re.compile(
    r"(?P<kind>\w+)\s+(?P<experts>[^=\s]+)(?:=(?P<value>\S+))?"
    r"(?:\s+in\s+(?P<phase>\w+))?(?:\s+at\s+(?P<positions>[\d,-]+))?"
    rf"(?:\s+between\s+(?P<open>{TOKEN})\s+(?P<close>{TOKEN}))?",
    re.DOTALL,
)
_CLAUSES = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^;])+', re.DOTALL)  # a semicolon within a JSON string parts nothing


class HasMeans(Protocol):
    """What knows the mean output of an expert: a store that kept outputs."""

    def mean_output(self, expert: ExpertRef) -> Any:
        """[hidden], before the routing weight."""
        ...


@dataclass(frozen=True)
class Plan:
    """A set of edits in a fixed order, with the fingerprint of the model it was made for (None: any model).

    `a | b` joins; equal edits merge; `off` with `force` of one expert in one phase is refused. Several scales of one
    expert multiply, several biases add. An empty plan is nothing: it is false, and steering with it installs nothing.
    """

    edits: tuple[Edit, ...] = ()
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "edits", tuple(sorted(set(self.edits), key=lambda e: e.key)))
        _check_conflicts(self.edits)
        if self.fingerprint is None:
            object.__setattr__(self, "fingerprint", _ranked_on(edit.expert for edit in self.edits))

    # ---- making plans

    @classmethod
    def off(cls, refs: Experts, **scope: Any) -> "Plan":
        """The router answers as if these experts did not exist; the next expert takes the slot (SAFEx, pruning)."""
        return cls._of("off", refs, None, scope)

    @classmethod
    def drop(cls, refs: Experts, **scope: Any) -> "Plan":
        """A selected slot gets weight 0, the other weights are rescaled to keep their sum, no refill (MoTE, second-hand)."""
        return cls._of("drop", refs, None, scope)

    @classmethod
    def mute(cls, refs: Experts, **scope: Any) -> "Plan":
        """Selection and weights stay; the expert's output contributes nothing (Super Experts)."""
        return cls._of("mute", refs, None, scope)

    @classmethod
    def force(cls, refs: Experts, **scope: Any) -> "Plan":
        """Always selected, weighted as if its score were the token's highest; displaces the weakest (SteerMoE, MoTE)."""
        return cls._of("force", refs, None, scope)

    @classmethod
    def scale(cls, refs: Experts, factor: float, **scope: Any) -> "Plan":
        """Where selected, the routing weight is multiplied by `factor`; no renormalisation (RICE)."""
        return cls._of("scale", refs, float(factor), scope)

    @classmethod
    def bias(cls, refs: Experts, amount: float, **scope: Any) -> "Plan":
        """`amount` is added to the router logit before scoring (Rewiring; soft steering)."""
        return cls._of("bias", refs, float(amount), scope)

    @classmethod
    def replace(cls, refs: Experts, value: Literal["mean"] | Sequence[float], **scope: Any) -> "Plan":
        """Where selected, the output becomes `value`, shape [hidden]; "mean" is resolved against a store (`with_means`)."""
        vector = value if isinstance(value, str) else tuple(float(x) for x in value)
        return cls._of("replace", refs, vector, scope)

    @classmethod
    def _of(cls, kind: Kind, refs: Experts, value: Any, scope: dict[str, Any]) -> "Plan":
        given = parse_experts(refs) if isinstance(refs, str) else [refs] if isinstance(refs, ExpertRef) else refs
        if not isinstance(given, Iterable):
            raise WorkbenchError(f"Plan.{kind}({given!r:.60}) names no expert; write 'L12E3', or a list of experts.")
        chosen = [as_ref(r) for r in given]
        return cls(tuple(Edit(kind, r, value, _scope(**scope)) for r in chosen))

    def __or__(self, other: "Plan") -> "Plan":
        fingerprint = joined(self.fingerprint, other.fingerprint)
        if fingerprint is None:
            raise WorkbenchError(
                f"These plans were made for two models ({self.fingerprint} and {other.fingerprint}); join plans of one."
            )
        return Plan(self.edits + other.edits, fingerprint or None)

    def for_model(self, anatomy: Anatomy) -> "Plan":
        """This plan, stamped with the model's fingerprint; refused when it carries another's."""
        anatomy.check_same(self.fingerprint, "This plan")
        return replace(self, fingerprint=anatomy.fingerprint)

    # ---- reading plans

    def __bool__(self) -> bool:
        return bool(self.edits)

    def __len__(self) -> int:
        return len(self.edits)

    @property
    def experts(self) -> tuple[ExpertRef, ...]:
        """The experts that some edit names, sorted; they carry the fingerprint of the plan."""
        refs = sorted({e.expert for e in self.edits})
        return tuple(replace(ref, fingerprint=ref.fingerprint or self.fingerprint) for ref in refs)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that some edit touches, sorted."""
        return tuple(sorted({e.expert.layer for e in self.edits}))

    def __str__(self) -> str:
        return "; ".join(map(str, self.edits)) or "nothing"

    @property
    def digest(self) -> str:
        """16 hex digits that tell this plan from others: of its edits, and of the model that it was made for."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    # ---- text and JSON

    @classmethod
    def parse(cls, text: str, anatomy: Anatomy | None = None, *, files: bool = True, most: int | None = None) -> "Plan":
        """A plan from `off L0E15; scale L1E4=8 in generated; mute L2E3 between <think> </think>` (`workbench.plan.edits`).

        files  whether experts may be named by a file, `off @plan.json`; most: so many edits at most
        """
        edits = list[Edit]()
        for clause in _CLAUSES.findall(text):
            if clause.strip() and clause.strip() != "nothing":
                left = None if most is None else most - len(edits)
                edits += _parse_clause(clause.strip(), anatomy, files, left).edits
        return cls(tuple(edits))

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text; also written to `path` when given."""
        if path is not None:
            write_text(path, self._json + "\n")
        return self._json

    @cached_property
    def _json(self) -> str:
        data: dict[str, Any] = {"edits": [e.to_dict() for e in self.edits]}
        return json.dumps(data | ({"fingerprint": self.fingerprint} if self.fingerprint else {}), indent=1)

    @classmethod
    def from_json(cls, source: str | Path) -> "Plan":
        """A plan from a file or from JSON text."""
        where, data = _read_json(source)
        edits = data.get("edits") if isinstance(data, dict) else None
        if not isinstance(edits, list):
            raise WorkbenchError(f"{where} is not a plan: it should be a JSON object with a list 'edits'.")
        fingerprint = data.get("fingerprint")
        if not isinstance(fingerprint, str | None):
            raise WorkbenchError(f"{where} is not a plan: its fingerprint is {fingerprint!r:.40}, and should be text.")
        return cls(tuple(Edit.from_dict(edit) for edit in edits), fingerprint)

    # ---- against a model or a store

    def check(self, anatomy: Anatomy) -> "Plan":
        """This plan, when the model can do all of it; otherwise `WorkbenchError` with layer and numbers. Never trimmed."""
        check_edits(self.edits, self.fingerprint, anatomy)
        return self

    def with_means(self, store: HasMeans) -> "Plan":
        """`replace` by "mean" resolved: each expert's mean unweighted output over the store's `outputs` table."""
        means = {e.expert: store.mean_output(e.expert) for e in self.edits if e.value == "mean"}
        edits = (replace(e, value=tuple(means[e.expert])) if e.value == "mean" else e for e in self.edits)
        return replace(self, edits=tuple(edits))

    @classmethod
    def random_like(
        cls,
        plan: "Plan",
        anatomy: Anatomy,
        match: Literal["count", "layer", "usage"] = "count",
        usage: Any = None,
        seed: int = 0,
        apart: bool = True,
    ) -> "Plan":
        """The same edits on other, randomly drawn experts: a control. See `workbench.plan.controls.random_like`."""
        return cls(random_like(plan.edits, anatomy, match, usage, seed, apart), plan.fingerprint)


def as_plan(given: Plan | str, anatomy: Anatomy | None = None) -> Plan:
    """A plan from itself, or from its text (`Plan.parse`). Raises `WorkbenchError` for anything else."""
    if isinstance(given, str):
        return Plan.parse(given, anatomy)
    if not isinstance(given, Plan):
        raise WorkbenchError(f"{given!r:.60} is no plan; give one such as Plan.off('L0E15'), or its text, 'off L0E15'.")
    return given


def _read_json(source: str | Path) -> tuple[str, Any]:
    """What to call the source, and the JSON in it."""
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    where = "This text" if is_text else f"'{source}'"
    try:
        found = is_text or given_path(source).is_file()
    except OSError:  # too long for a name: text that is no object
        found, where = False, "This text"
    if not found:
        raise WorkbenchError(f"There is no plan file {where}; save one with Plan.to_json or `workbench rank --out`.")
    try:
        return where, json.loads(str(source) if is_text else given_path(source).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"{where} is not a plan: it is not UTF-8 text (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise WorkbenchError(
            f"{where} is not a plan: it is not JSON ({error.msg} at line {error.lineno}, column {error.colno})."
        ) from error
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"{where} is not a plan: it is nested too deep or holds too long a number.") from error


def _ranked_on(refs: Iterable[ExpertRef]) -> str | None:
    """The fingerprint of the model that experts were ranked on, where they carry one; they must carry the same."""
    known: str = ""
    for fingerprint in dict.fromkeys(ref.fingerprint for ref in refs):
        both = joined(known, fingerprint)
        if both is None:
            raise WorkbenchError(
                f"These experts were ranked on two models ({known} and {fingerprint}); make a plan of one's."
            )
        known = both
    return known or None


def _scope(
    phase: Phase | None = None,
    positions: Iterable[tuple[int, int | None]] | str = (),
    span: tuple[str, str] | None = None,
) -> Scope:
    ranges = parse_positions(positions) if isinstance(positions, str) else tuple((a, b) for a, b in positions)
    return Scope(phase, ranges, tuple(span) if span else None)  # pyright: ignore[reportArgumentType]


def _check_conflicts(edits: tuple[Edit, ...]) -> None:
    by_expert: dict[tuple[ExpertRef, Kind], list[Edit]] = {}
    for edit in edits:
        by_expert.setdefault((edit.expert, edit.kind), []).append(edit)
    for (expert, kind), found in by_expert.items():
        opposed = (
            _one_a_phase(by_expert.get((expert, "force"), [])) if kind == "off" else found if kind == "replace" else []
        )
        if any(a is not b and a.scope.can_meet(b.scope) for a in _one_a_phase(found) for b in opposed):
            other = "force" if kind == "off" else "another replace"
            raise WorkbenchError(
                f"{kind} {expert} and {other} of the same expert contradict each other; keep one of them."
            )


def _one_a_phase(edits: Iterable[Edit]) -> list[Edit]:
    """Whether edits can meet depends on their phases alone, so many edits need no more pairs than a few."""
    return list({edit.scope.phase: edit for edit in edits}.values())


def _parse_clause(clause: str, anatomy: Anatomy | None, files: bool, most: int | None) -> Plan:
    match = _CLAUSE.fullmatch(clause)
    if match is None or match["kind"] not in KINDS:
        shown = clause if len(clause) <= 80 else clause[:79] + "…"
        raise WorkbenchError(
            f"'{shown}' is not an edit; write KIND EXPERTS[=VALUE], such as 'off L0E15' or 'scale L1E4=8', with KIND one of "
            f"{', '.join(KINDS)}."
        )
    span = (parse_token(match["open"]), parse_token(match["close"])) if match["open"] else None
    scope = _scope(match["phase"], match["positions"] or (), span)  # pyright: ignore[reportArgumentType]
    refs = parse_experts(match["experts"], anatomy, files=files, most=most)
    return Plan(tuple(Edit(match["kind"], r, _parse_value(match["value"]), scope) for r in refs))  # pyright: ignore[reportArgumentType]


def _parse_value(text: str | None) -> Any:
    if text is None or text == "mean":
        return text
    try:
        return tuple(map(float, text[1:-1].split(","))) if text.startswith("[") else float(text)
    except ValueError as error:
        raise WorkbenchError(f"'{text}' is no number; write it like scale L1E4=8.") from error
