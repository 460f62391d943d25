"""What a capture was asked to do, checked before anything runs, and the `plan.json` that records it."""

import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pyarrow
import tokenizers
import torch
import transformers

from workbench.anatomy import Anatomy
from workbench.batches import Schedule, prompt_seeds, schedule
from workbench.decoding import Decoding, decoding_of
from workbench.encoding import Encoded, check_unanswered, encode, encode_responses
from workbench.encoding import warnings as doubts
from workbench.errors import NotCompared, WorkbenchError, suggestion
from workbench.experts import ExpertRef, as_ref
from workbench.fingerprints import UNCOMPARED, is_unversioned
from workbench.hooks.steering import plan_in_force
from workbench.moment import asks_the_date, moment
from workbench.promptrows import responses_of
from workbench.prompts import PromptSet, check_characters
from workbench.record import KEEPS
from workbench.schema import SCHEMA_VERSION
from workbench.sizes import Estimate, estimate
from workbench.version import __version__

if TYPE_CHECKING:
    from workbench.model import MoEModel

_MOST_SAMPLES = 1_000_000
Responses = Mapping[str, str | Sequence[str]] | bool | None


@dataclass(frozen=True)
class Options:
    """The options of `capture` that decide what a store contains."""

    keep: tuple[str, ...]
    generate: int
    samples: int
    temperature: float
    layers: tuple[int, ...] | None
    experts: tuple[str, ...] | None
    batch_tokens: int
    shard_tokens: int
    seed: int
    text: bool
    responses: str | None
    """Fingerprint of the given responses."""

    def __post_init__(self) -> None:
        for name, value, least in (
            ("generate", self.generate, 0),
            ("samples", self.samples, 1),
            ("batch_tokens", self.batch_tokens, 1),
            ("shard_tokens", self.shard_tokens, 1),
            ("temperature", self.temperature, 0),
        ):
            if value < least:
                raise WorkbenchError(f"capture({name}={value}) makes no sense; it should be at least {least}.")
        if self.samples > _MOST_SAMPLES:
            raise WorkbenchError(
                f"capture(samples={self.samples}) makes no sense; it should be at most {_MOST_SAMPLES:,}."
            )
        if self.responses is not None and self.generate:
            raise WorkbenchError("capture() takes given responses or generates, not both; drop one of the two.")
        if self.samples > 1 and self.responses is None and not (self.generate and self.temperature):
            raise WorkbenchError(
                f"capture(samples={self.samples}) would make the same rows {self.samples} times; give generate=N and a "
                f"temperature above 0 as well."
            )


@dataclass(frozen=True, eq=False)
class Request:
    """A checked capture: the sequences to run, in which batches, and how big the store will be."""

    prompts: PromptSet
    options: Options
    decoding: Decoding | None
    """How responses are made, where they are."""
    encoded: list[Encoded]
    responses: dict[str, list[tuple[int, ...]]] | None
    schedule: Schedule
    seeds: tuple[int, ...]
    plan_json: dict[str, Any]
    estimate: Estimate

    def sequence(self, number: int) -> tuple[int, int]:
        """Prompt and sample of a sequence."""
        return divmod(number, self.options.samples)

    def ids(self, number: int) -> tuple[int, ...]:
        """What goes through the model for a sequence before generating: the prompt, and the given response."""
        prompt, sample = self.sequence(number)
        encoded = self.encoded[prompt]
        return encoded.ids + (self.responses[encoded.id][sample] if self.responses is not None else ())

    def shard_size(self, shard: int) -> int:
        """Tokens of a shard, as many as may be generated included."""
        numbers = [n for batch in self.schedule.shards[shard] for n in self.schedule.batches[batch]]
        return sum(len(self.ids(n)) + max(self.options.generate - 1, 0) for n in numbers)


def make_request(
    model: "MoEModel",
    prompts: PromptSet,
    *,
    keep: Collection[str],
    generate: int,
    samples: int,
    temperature: float,
    responses: Responses,
    layers: Iterable[int] | None,
    experts: Iterable[ExpertRef | str] | None,
    batch_tokens: int,
    shard_tokens: int,
    seed: int,
    text: bool,
    backend: str = "native",
    begun: Mapping[str, Any] | None = None,
) -> Request:
    """Checks a capture and plans it. Raises `WorkbenchError` on anything that cannot be done as asked.

    begun  the `plan.json` of a capture to go on with: chat templates are told the date that they were told then, and what
           an earlier version did not record is done as that version did it
    """
    if model.tokenizer is None:
        raise WorkbenchError(
            f"Prompts are text, and {model.anatomy.model} was loaded without a tokenizer; load(..., tokenizer)."
        )
    given = _given(prompts, responses)
    refs = None if experts is None else sorted({as_ref(expert) for expert in experts})
    options = Options(
        keep=_keep(keep),
        generate=generate,
        samples=samples if given is None else max(map(len, given.values())),
        temperature=float(temperature),
        layers=None if layers is None else tuple(sorted({int(n) for n in layers})),
        experts=None if refs is None else tuple(map(str, refs)),
        batch_tokens=batch_tokens,
        shard_tokens=shard_tokens,
        seed=seed,
        text=text,
        responses=None if given is None else _digest(given),
    )
    _check_where(model.anatomy, options, refs)
    decoding, earlier = None, ()
    if generate:
        check_unanswered(prompts)
        decoding = decoding_of(model, generate, options.temperature)
        if decoding.shaping and backend == "native" and begun is not None and "decoding" not in begun:
            earlier, decoding = tuple(decoding.shaping), replace(decoding, shaping={})
    with moment((begun or {}).get("template_date")) as date:
        encoded = encode(model.tokenizer, prompts, model.image_token)
    answers = None if given is None else encode_responses(model.tokenizer, given)
    _check_vocabulary(model, encoded, answers)
    lengths = [
        len(prompt.ids) + (len(answers[prompt.id][sample]) if answers is not None else 0)
        for prompt in encoded
        for sample in range(options.samples)
    ]
    _check_context(model.anatomy, prompts, lengths, options)
    plan = schedule(lengths, batch_tokens, extra=generate, shard_tokens=shard_tokens)
    seeds = prompt_seeds([prompt.id for prompt in prompts], seed)
    tokens = sum(lengths) + len(lengths) * max(generate - 1, 0)
    pairs = None if refs is None else expert_numbers(refs)
    return Request(
        prompts=prompts,
        options=options,
        decoding=decoding,
        encoded=encoded,
        responses=answers,
        schedule=plan,
        seeds=seeds,
        plan_json=_plan_json(model, prompts, options, encoded, plan, seeds, _earlier(earlier))
        | _where(backend)
        | ({"template_date": date} if any(p.is_chat for p in prompts) and asks_the_date(model.tokenizer) else {})
        | ({} if decoding is None else {"decoding": decoding.record()}),
        estimate=estimate(model.anatomy, tokens, options.keep, options.layers, pairs),
    )


def expert_numbers(refs: Iterable[ExpertRef]) -> list[tuple[int, int]]:
    """(layer, expert) as the slots table numbers them: shared expert s is -1 - s."""
    return [(ref.layer, -1 - ref.expert if ref.is_shared else ref.expert) for ref in refs]


def check_same(store: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises `WorkbenchError` when the store was begun with another request; says what differs.

    Warns (`NotCompared`) when the store was begun before fingerprints had a version: then less was compared.
    """
    differences = [
        f"{what} ({_short(there)} there, {_short(here)} here)"
        for what, there, here in _differences(begun, asked)
        if there != here
    ]
    if differences:
        shown = differences[:3]  # a different option also changes batches and shards
        raise WorkbenchError(
            f"The store '{store}' was begun with another {', another '.join(shown)}; nothing was changed: ask "
            f"for the same, or capture into another folder."
        )
    if is_unversioned(begun["anatomy"]["fingerprint"]):
        text = f"The store '{store}' is taken for one of this model, but {UNCOMPARED}."
        warnings.warn(text, NotCompared, stacklevel=2)


def _differences(begun: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    yield "schema version", begun.get("schema_version"), asked["schema_version"]
    there, model = begun.get("prompts", {}), Anatomy.from_dict(asked["anatomy"])
    yield from _model_differences(begun.get("anatomy", {}), model)
    yield "dtype", begun.get("dtype"), asked["dtype"]
    yield "prompt set", there.get("fingerprint"), asked["prompts"]["fingerprint"]
    yield "tokenisation", there.get("tokens"), asked["prompts"]["tokens"]
    yield "steering plan", _edits(begun.get("steering"), model), _edits(asked["steering"], model)
    yield "backend", begun.get("backend", "native"), asked["backend"]
    if "decoding" in begun:
        yield "decoding by the generation config", begun["decoding"], asked.get("decoding")
    for name in asked["options"]:
        yield name, begun.get("options", {}).get(name), asked["options"][name]
    for name in ("batches", "shards", "seeds"):
        yield f"list of {name}", begun.get(name), asked[name]


def _model_differences(begun: Mapping[str, Any], model: Anatomy) -> Iterable[tuple[str, Any, Any]]:
    """The fingerprint, each side's by the rule that the store was begun under, and what makes the two differ if that is known."""
    there = begun.get("fingerprint")
    if isinstance(there, str) and model.is_same(there):
        return
    yield "model", there, model.unversioned if is_unversioned(there or "") else model.fingerprint
    yield "set of active adapters", list(begun.get("adapters", ())), list(model.adapters)
    layers = begun.get("layers", ())
    yield "top-k", [x.get("top_k") for x in layers], [x.top_k for x in model.layers]


def _edits(steering: Mapping[str, Any] | None, model: Anatomy) -> Any:
    """A plan's JSON for comparing: a fingerprint that is the model's counts as the model's, by whichever rule it was made."""
    known = steering.get("fingerprint") if steering else None
    same = isinstance(known, str) and model.is_same(known)
    return {**steering, "fingerprint": model.fingerprint} if steering and same else steering


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keep(keep: Collection[str]) -> tuple[str, ...]:
    chosen = {keep} if isinstance(keep, str) else set(keep)
    for name in sorted(chosen - KEEPS):
        raise WorkbenchError(
            f"capture(keep=...) does not know '{name}'; it can be {', '.join(sorted(KEEPS))} (slots are always kept)"
            f"{suggestion(name, sorted(KEEPS)) or '.'}"
        )
    return tuple(sorted(chosen))


def _given(prompts: PromptSet, responses: Responses) -> dict[str, list[str]] | None:
    """The given responses by prompt, the same number for each."""
    if responses is None or responses is False:
        return None
    if responses is True:
        responses = {p.id: p.response for p in prompts if p.response is not None}
    responses = responses_of(responses)
    known = [prompt.id for prompt in prompts]
    for name in responses:
        if name not in known:
            raise WorkbenchError(
                f"A response is given for the prompt '{name}', which is not asked{suggestion(name, known) or '.'}"
            )
    found: dict[str, list[str]] = {}
    for name in known:
        if name not in responses:
            raise WorkbenchError(f"The prompt '{name}' has no given response; give one for each prompt.")
        found[name] = responses[name]
        for text in found[name]:
            check_characters({"response": text}, f"the prompt '{name}'")
    if len({len(several) for several in found.values()}) > 1 or not all(found.values()):
        raise WorkbenchError("The prompts have different numbers of given responses; give each the same number.")
    return found


def _check_where(anatomy: "Anatomy", options: Options, refs: Sequence[ExpertRef] | None) -> None:
    for layer in options.layers or ():
        if not anatomy.layer(layer).is_moe:
            raise WorkbenchError(
                f"Layer {layer} of {anatomy.model} is dense: it has no logits or expert outputs to keep."
            )
    for ref in refs or ():
        anatomy.check_ref(ref)
    if refs is not None and "outputs" not in options.keep:
        raise WorkbenchError("capture(experts=...) chooses output vectors; add 'outputs' to keep.")


def _check_vocabulary(model: "MoEModel", encoded: Sequence[Encoded], answers: Mapping[str, Any] | None) -> None:
    """Every id must have an embedding; the tokenizer of another model may give more."""
    rows = model.hf.get_input_embeddings().weight.shape[0]
    for prompt in encoded:
        ids = [*prompt.ids, *(i for answer in (answers or {}).get(prompt.id, ()) for i in answer)]
        if ids and max(ids) >= rows:
            raise WorkbenchError(
                f"The prompt '{prompt.id}' has the token id {max(ids)}, and {model.anatomy.model} has embeddings 0-{rows - 1}: "
                f"the tokenizer is another model's; load(..., tokenizer) with its own."
            )


def _check_context(anatomy: "Anatomy", prompts: PromptSet, lengths: Sequence[int], options: Options) -> None:
    limit = anatomy.context_length
    if limit is None:
        return
    for number, length in enumerate(lengths):
        if length + max(options.generate - 1, 0) > limit:
            name = prompts.prompts[number // options.samples].id
            more = f" and {options.generate} to generate" if options.generate else ""
            raise WorkbenchError(
                f"The prompt '{name}' has {length} tokens{more}, and {anatomy.model} takes {limit}; shorten it or leave "
                f"it out."
            )


def _plan_json(
    model: "MoEModel",
    prompts: PromptSet,
    options: Options,
    encoded: Sequence[Encoded],
    plan: Schedule,
    seeds: Sequence[int],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    anatomy, steering = model.anatomy, plan_in_force(model)
    return {
        "schema_version": SCHEMA_VERSION,
        "model": {
            "name": anatomy.model,
            "revision": anatomy.revision,
            "weights": anatomy.weights,
            "class": type(model.hf).__name__,
        },
        "anatomy": anatomy.to_dict(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "experts_implementation": getattr(model.hf.config, "_experts_implementation", None),
        "versions": _versions(),
        "options": json.loads(json.dumps(asdict(options))),
        "layers": list(anatomy.moe_layers),
        "prompts": {
            "source": prompts.source,
            "n": len(prompts),
            "fingerprint": prompts.fingerprint,
            "tokens": _digest([prompt.ids for prompt in encoded]),
        },
        "steering": json.loads(steering.to_json()) if steering else None,
        "warnings": [*doubts(encoded), *notes],
        "seeds": list(seeds),
        "batches": [list(batch) for batch in plan.batches],
        "shards": [list(shard) for shard in plan.shards],
    }


def _earlier(left_out: Sequence[str]) -> list[str]:
    """What is said of a capture that an earlier version began, which had no use for these options of the generation config."""
    names = ", ".join(left_out)
    return [f"responses are made as this capture was begun, without {names} of the generation config"] if names else []


def _where(backend: str) -> dict[str, Any]:
    """How the forwards are run; on NDIF their device is the server's affair."""
    return {"backend": backend} | ({"device": "NDIF"} if backend.endswith("NDIF") else {})


def _versions() -> dict[str, str]:
    modules = (numpy, torch, transformers, tokenizers, pyarrow)
    return {"workbench": __version__} | {module.__name__: str(module.__version__) for module in modules}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
