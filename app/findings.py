"""What a run of the demo found: plain frozen values, JSON-able, the only thing that the report and the table are made from."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from .terminal import jsonable

if TYPE_CHECKING:
    from probes.ranking import ExpertScores
    from workbench import Comparison


class Effect(NamedTuple):
    """One check under one plan: shares of `n` prompts, the 95 % interval of the difference, every random draw's share."""

    check: str
    base: float
    steered: float
    low: float
    high: float
    n: int
    random: tuple[float, ...]


class Example(NamedTuple):
    """One prompt's two answers, and what a right answer would say."""

    prompt: str
    base: str
    steered: str


@dataclass(frozen=True)
class Arm:
    """Everything measured under one plan. `random` are the plans drawn for comparison, with the slots each changed."""

    n: int
    plan: str
    experts: tuple[str, ...]
    effects: tuple[Effect, ...]
    tokens: int
    tokens_changed: int
    slots: int
    slots_changed: int
    random: tuple[tuple[str, int], ...]
    kl_nats: dict[str, float]
    examples: dict[str, tuple[Example, ...]] = field(repr=False)

    def effect(self, check: str) -> Effect:
        """The effect on one check; raises KeyError when it was not measured."""
        return next((e for e in self.effects if e.check == check), None) or _missing(check)


@dataclass(frozen=True)
class Ranking:
    """A score of every expert: rows of layer, expert, score, n, low, high, p, p_adjusted, flags; and what to be told."""

    method: str
    options: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """All of it.

    left, left_base  refusals of sensitive prompts of the ranking split, by n and of the base: what chooses n
    is_committed     whether n was chosen before, on the ranking split, and committed with the model
    forced           the opposite edit on the chosen experts, where it can be done; else `notes` say why not
    implanted        experts that training tuned, by behaviour; empty where that is not known
    """

    model: str
    fingerprint: str
    n_layers: int
    n_experts: int
    top_k: int
    refusal: Ranking
    thinking: Ranking
    extremes: Ranking
    residual: tuple[tuple[int, float], ...]
    left_base: float
    left: dict[int, float]
    is_committed: bool
    chosen: int
    arms: tuple[Arm, ...]
    thinking_arm: Arm
    forced: Arm | None
    notes: tuple[str, ...]
    seconds: dict[str, float]
    versions: dict[str, str]
    implanted: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @property
    def arm(self) -> Arm:
        """The arm that was chosen on the ranking split."""
        return next(a for a in self.arms if a.n == self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return jsonable(asdict(self))


def ranking_of(scores: "ExpertScores") -> Ranking:
    """The scores as plain rows."""
    rows = tuple(jsonable(row) for row in scores.frame.to_dict("records"))
    return Ranking(scores.method, jsonable(scores.options), rows, tuple(scores.notes))


def arm_of(n: int, found: list["Comparison"], names: list[str]) -> Arm:
    """One arm from the comparisons of its prompt files; `names` are the files'."""
    effects = [effect for one in found for effect in _effects(one)]
    doses = [one.dose for one in found]
    draws = [_draws(one) for one in found]
    random = tuple((plan, sum(d[i][1] for d in draws)) for i, (plan, _) in enumerate(draws[0]))
    return Arm(
        n,
        str(found[0].plan),
        tuple(map(str, found[0].plan.experts)),
        tuple(effects),
        sum(d.tokens for d in doses),
        sum(d.tokens_changed for d in doses),
        sum(d.slots for d in doses),
        sum(d.slots_changed for d in doses),
        random,
        {name: _mean_kl(one.divergence) for name, one in zip(names, found, strict=True)},
        {name: _examples(one) for name, one in zip(names, found, strict=True)},
    )


def _mean_kl(divergence: Any) -> float:
    return float(divergence["kl_first_nats"].mean())


def _effects(found: "Comparison") -> list[Effect]:
    drawn = found.controls
    return [
        Effect(
            row["metric"],
            float(row["base"]),
            float(row["steered"]),
            float(row["low"]),
            float(row["high"]),
            int(row["n"]),
            tuple(float(share) for share in drawn.loc[drawn["metric"] == row["metric"], "steered"]),
        )
        for row in found.metrics.to_dict("records")
    ]


def _draws(found: "Comparison") -> list[tuple[str, int]]:
    rows = found.controls.drop_duplicates(["match", "draw"])
    return [(str(plan), int(slots)) for plan, slots in zip(rows["plan"], rows["slots_changed"], strict=True)]


def _examples(found: "Comparison") -> tuple[Example, ...]:
    columns = (found.responses[c] for c in ("prompt", "base", "steered"))
    return tuple(Example(*map(str, row)) for row in zip(*columns, strict=True))


def _missing(check: str) -> Any:
    raise KeyError(f"{check} was not measured in this arm")
