"""What a run will do, counted before it starts: units, answers, tokens; time by a small measured batch; space on disk."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench import Plan, PromptSet, WorkbenchError
from workbench.answering import answer, encode_all
from workbench.backends import backend_of
from workbench.capturing import Options, expected_size
from workbench.comparison import divergence
from workbench.generation import decoding_of, schedule

from ..recipe import Recipe, generated, text_metrics
from .abilities import check_abilities, kept
from .arms import empty_arms
from .freed import Sizes
from .units import Piece, Unit, pieces

if TYPE_CHECKING:
    from workbench import Anatomy, MoEModel

MEASURED_ROWS, MEASURED_TOKENS = 64, 8
"""The batch whose speed is measured: so many prompts at most, answered with so many tokens at most."""
BYTES_PER_TOKEN = 16
"""On disk, of an answer in units/ and again in tables/: its id (4 bytes) and its characters, not compressed."""


@dataclass(frozen=True)
class ModelPlan:
    """What one model will do, at most: equal plans are run once, impossible ones never, answers may end early."""

    model: str
    fingerprint: str
    dtype: str
    device: str
    shape: str
    """Its experts, in words."""
    arms: dict[str, int]
    """Arms by kind."""
    pieces: dict[str, int]
    """Arms measured on prompt sets, by what is measured."""
    answers: int
    tokens: int
    captured_tokens: int
    store_bytes: int
    answer_bytes: int
    tokens_per_second: float
    """Of answering a small batch under a plan, measured."""
    read_tokens_per_second: float
    """Of reading given text, measured."""
    seconds: float
    """All of it at these speeds; rankings and tables are not counted."""
    decoding: dict[str, Any] | None = None
    """What the model's generation config makes of answers; None where nothing is answered."""
    sizes: dict[str, Any] | None = None
    """Parameters of an expert by layer, and of the model; None where they cannot be counted."""
    frees: dict[str, dict[str, int]] | None = None
    """By arm, how many parameters its plan would free, at least and at most, were its experts removed."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class Speed(NamedTuple):
    """Tokens a second of answering and of reading."""

    answering: float
    reading: float


def plan_model(recipe: Recipe, sets: Mapping[str, PromptSet], model: "MoEModel", source: str) -> ModelPlan:
    """Counts and measures; runs a small batch three times. Raises `WorkbenchError` when a prompt does not fit."""
    check_abilities(recipe, model)
    arms = empty_arms(recipe)
    planned, lengths = pieces(recipe, arms), token_counts(recipe, sets, model)
    speed = measured_speed(recipe, sets, model)
    answered = sum(cost(recipe, sets, lengths, p.prompts, p.what, 1) for p in planned if p.what == "answers")
    read = sum(cost(recipe, sets, lengths, p.prompts, p.what, 1) for p in planned if p.what != "answers")
    captured = {name: _capture_tokens(recipe, name, lengths[name], len(sets[name])) for name in ranking_sets(recipe)}
    in_captures = sum(captured.values())
    answers = sum(len(sets[p.prompts]) for p in planned if p.what == "answers")
    sizes = Sizes.of(model)
    return ModelPlan(
        model=source,
        fingerprint=model.anatomy.fingerprint,
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        shape=_shape(model.anatomy),
        arms=dict(Counter(arm.kind for arm in arms)),
        pieces=dict(Counter(p.what for p in planned)),
        answers=answers,
        tokens=answered + read,
        captured_tokens=in_captures,
        store_bytes=expected_size(model, in_captures, Options(keep=kept(recipe, model))).total,
        answer_bytes=BYTES_PER_TOKEN * sum(_new_tokens(recipe, sets, p) for p in planned),
        tokens_per_second=round(speed.answering, 1),
        read_tokens_per_second=round(speed.reading, 1),
        seconds=round(answered / speed.answering + read / speed.reading + _capture_seconds(recipe, captured, speed), 1),
        decoding=decoding_of(model, 1).record() if answers else None,
        sizes=None if sizes is None else sizes.to_dict(),
        frees=None if sizes is None else sizes.planned(recipe),
    )


def _shape(anatomy: "Anatomy") -> str:
    """`128 routed experts in 4 layers, 4 of a layer selected for each token`."""
    top = sorted({anatomy.layer(n).top_k for n in anatomy.moe_layers})
    chosen = f"{top[0]}" if len(top) == 1 else f"{top[0]} to {top[-1]}"
    layers = f"{len(anatomy.moe_layers)} layer{'s' if len(anatomy.moe_layers) > 1 else ''}"
    return f"{anatomy.n_experts} routed experts in {layers}, {chosen} of a layer selected for each token"


def ranking_sets(recipe: Recipe) -> list[str]:
    """The prompt sets that are captured: those that some ranking reads."""
    return list(dict.fromkeys(ranking.prompts for ranking in recipe.rankings))


def token_counts(recipe: Recipe, sets: Mapping[str, PromptSet], model: "MoEModel") -> dict[str, int]:
    """Tokens of the prompts of every set, after checking that they fit into the context with their answers."""
    found: dict[str, int] = {}
    for name, prompts in sets.items():
        spec = recipe.prompts[name]
        room = spec.max_new_tokens if text_metrics(recipe, name) else 0
        room = generated(recipe, name) if spec.role == "ranking" else room
        found[name] = sum(map(len, encode_all(model, prompts, room)))
    return found


def cost(
    recipe: Recipe, sets: Mapping[str, PromptSet], lengths: Mapping[str, int], prompts: str, what: str, arms: int
) -> int:
    """Tokens at most that go through the model to measure so many arms on a prompt set; the bare model's beside them."""
    n = len(sets[prompts])
    answered = lengths[prompts] + n * recipe.prompts[prompts].max_new_tokens
    if what == "answers":
        return arms * answered
    beside = arms + 1
    if what == "distributions":
        return beside * answered
    if what == "choice":
        return beside * lengths[prompts] * max(2, *(_n_choices(p.labels.get("choices")) for p in sets[prompts]))
    return lengths[prompts] * (beside if what == "perplexity" else arms)


def unit_cost(recipe: Recipe, sets: Mapping[str, PromptSet], lengths: Mapping[str, int], unit: Unit) -> int:
    """Tokens at most of a unit."""
    return cost(recipe, sets, lengths, unit.prompts, unit.what, len(unit.arms))


def planned_cost(recipe: Recipe, sets: Mapping[str, PromptSet], lengths: Mapping[str, int]) -> int:
    """Tokens at most of everything that a model will measure, captures included."""
    measured = sum(cost(recipe, sets, lengths, p.prompts, p.what, 1) for p in pieces(recipe, empty_arms(recipe)))
    return measured + sum(
        _capture_tokens(recipe, name, lengths[name], len(sets[name])) for name in ranking_sets(recipe)
    )


def lowered(recipe: Recipe) -> list[str]:
    """A sentence for each control that the recipe has less of than the default."""
    said: list[str] = []
    for name in ("count", "layer", "usage"):
        draws, default = getattr(recipe.controls, name), 10
        if draws < default:
            said.append(
                f"The recipe asks for {draws} random draws matched by {name}, fewer than {default}: a plan that beats them all "
                f"may do so by chance."
            )
    if not recipe.controls.bottom:
        said.append("The recipe leaves out the control with the ranking's other end.")
    if recipe.controls.capability_draws < 3:
        n = recipe.controls.capability_draws
        said.append(f"The recipe measures {n} random draws of each kind on capability sets, fewer than 3.")
    if recipe.statistics.correction == "none":
        said.append("The recipe corrects no p-value for the number of plans: p_adjusted is p.")
    if not any(spec.role == "capability" for spec in recipe.measured().values()):
        said.append("The recipe has no capability set: what else the plans change is not measured.")
    return said


def _n_choices(choices: str | None) -> int:
    try:
        return len(json.loads(choices or "[]"))
    except (ValueError, TypeError):
        return 0


def _capture_tokens(recipe: Recipe, name: str, tokens: int, n: int) -> int:
    return recipe.capture.samples * (tokens + n * max(generated(recipe, name) - 1, 0))


def _capture_seconds(recipe: Recipe, tokens: Mapping[str, int], speed: Speed) -> float:
    return sum(n / (speed.answering if generated(recipe, name) else speed.reading) for name, n in tokens.items())


def _new_tokens(recipe: Recipe, sets: Mapping[str, PromptSet], piece: Piece) -> int:
    return len(sets[piece.prompts]) * recipe.prompts[piece.prompts].max_new_tokens if piece.what == "answers" else 0


def measured_speed(recipe: Recipe, sets: Mapping[str, PromptSet], model: "MoEModel") -> Speed:
    """The speed of one small batch of a measured set under a plan of one expert; the first time warms up."""
    name = max(recipe.measured(), key=lambda n: recipe.prompts[n].max_new_tokens if text_metrics(recipe, n) else 0)
    encoded = encode_all(model, sets[name], 0)
    first = schedule([len(ids) for ids in encoded], recipe.batch_tokens, extra=MEASURED_TOKENS).batches[0]
    rows = [encoded[i] for i in first[:MEASURED_ROWS]]
    plan, tokens = small_plan(model), min(MEASURED_TOKENS, recipe.prompts[name].max_new_tokens)
    answer(model, rows[:1], plan, 1, recipe.batch_tokens)
    start = time.perf_counter()
    found = answer(model, rows, plan, tokens, recipe.batch_tokens)
    middle = time.perf_counter()
    read, made = sum(map(len, rows)), sum(map(len, rows)) + max(map(len, found.ids), default=0) * len(rows)
    if not backend_of(model).can.scoring:
        return Speed(made / (middle - start), made / (middle - start))
    divergence(model, rows, [() for _ in rows], [plan], recipe.batch_tokens)
    end = time.perf_counter()
    return Speed(made / (middle - start), (1 + bool(plan)) * read / (end - middle))


def small_plan(model: "MoEModel") -> Plan:
    """One expert off, or muted where the model's router cannot be seen; nothing where neither can be done."""
    for edit in ("off", "mute"):
        plan = getattr(Plan, edit)([(model.anatomy.moe_layers[0], 0)])
        try:
            return plan.for_model(model.anatomy).check(model.anatomy)
        except WorkbenchError:
            continue
    return Plan()
