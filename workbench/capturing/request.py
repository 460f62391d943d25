"""What a capture was asked to do, checked and worked out before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from workbench.backends import Capabilities, backend_of, check_decoding, check_keep, was_bare
from workbench.capturing.options import Options, Responses
from workbench.capturing.sizes import Estimate, estimate
from workbench.errors import WorkbenchError, suggestion
from workbench.generation import Decoding, Schedule, decoding_of, prompt_seeds, schedule
from workbench.model import MoEModel
from workbench.parameters import check_inner, check_parameters, n_directions, n_neurons
from workbench.plan import Plan
from workbench.prompts import (
    Encoded,
    PromptSet,
    asks_the_date,
    check_characters,
    check_unanswered,
    encode,
    encode_responses,
    moment,
    responses_of,
)
from workbench.prompts import warnings as doubts

Answers = dict[str, list[tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class Request:
    """A checked capture: the sequences to run, in which batches, under which plan."""

    model: MoEModel
    prompts: PromptSet
    options: Options
    """As asked, with the given responses by prompt, and as many samples as there are of each."""
    plan: Plan
    """What steers the model meanwhile; empty: nothing."""
    can: Capabilities
    """What the engine that runs it can do."""
    decoding: Decoding | None
    """How responses are made, where they are."""
    encoded: list[Encoded]
    responses: Answers | None
    """Token ids of the given responses, by prompt."""
    schedule: Schedule
    seeds: tuple[int, ...]
    template_date: str | None
    """The date that chat templates were told, where one asks."""
    warnings: tuple[str, ...]

    def sequence(self, number: int) -> tuple[int, int]:
        """Prompt and sample of a sequence."""
        return divmod(number, self.options.samples)

    def ids(self, number: int) -> tuple[int, ...]:
        """What goes through the model for a sequence before generating: the prompt, and the given response."""
        return self.encoded[self.sequence(number)[0]].ids + self.given(number)

    def given(self, number: int) -> tuple[int, ...]:
        """The given response of a sequence; nothing where none is."""
        prompt, sample = self.sequence(number)
        return () if self.responses is None else self.responses[self.encoded[prompt].id][sample]

    def shard_size(self, shard: int) -> int:
        """Tokens of a shard, as many as may be generated included."""
        numbers = [n for batch in self.schedule.shards[shard] for n in self.schedule.batches[batch]]
        return sum(len(self.ids(n)) + max(self.options.generate - 1, 0) for n in numbers)

    @cached_property
    def estimate(self) -> Estimate:
        """How big the store will be."""
        tokens = sum(map(self.shard_size, range(len(self.schedule.shards))))
        return expected_size(self.model, tokens, self.options)


def expected_size(model: MoEModel, tokens: int, options: Options) -> Estimate:
    """How big a store of so many tokens of this model becomes."""
    rows = n_directions(model, options.layers) if "directions" in options.keep else 0
    neurons = n_neurons(model, options.layers) if "inner" in options.recorded else {}
    return estimate(model.anatomy, tokens, options.keep, options.layers, options.expert_numbers, rows, neurons)


def make_request(
    model: MoEModel,
    prompts: PromptSet,
    options: Options,
    *,
    plan: Plan | None = None,
    begun: Mapping[str, Any] | None = None,
) -> Request:
    """Checks a capture and plans it. Raises `WorkbenchError` on anything that cannot be done as asked.

    plan   what steers the model while it runs
    begun  the `plan.json` of a capture to go on with: chat templates are told the date that they were told then, and what
           an earlier version did not record is done as that version did it
    """
    if model.tokenizer is None:
        raise WorkbenchError(
            f"Prompts are text, and {model.anatomy.model} was loaded without a tokenizer; load(..., tokenizer)."
        )
    given = _given(prompts, options.responses)
    if given is not None:
        options = replace(options, responses=given, samples=max(map(len, given.values())))
    _check_where(model, options)
    backend = backend_of(model)
    check_keep(backend, options.recorded)
    if "inner" in options.recorded:
        check_inner(model, options.layers)
    if options.read_once:
        check_parameters(model, options.read_once, options.layers)
    decoding, notes = _decoding(model, prompts, options, begun)
    if decoding is not None:
        check_decoding(backend, decoding)
    with moment((begun or {}).get("template_date")) as date:
        encoded = encode(model.tokenizer, prompts, model.image_token)
    answers = None if given is None else encode_responses(model.tokenizer, given)
    _check_vocabulary(model, encoded, answers)
    lengths = _lengths(encoded, answers, options.samples)
    _check_context(model, prompts, lengths, options)
    is_dated = any(p.is_chat for p in prompts) and asks_the_date(model.tokenizer)
    return Request(
        model=model,
        prompts=prompts,
        options=options,
        plan=plan or Plan(),
        can=backend.can,
        decoding=decoding,
        encoded=encoded,
        responses=answers,
        schedule=schedule(lengths, options.batch_tokens, extra=options.generate, shard_tokens=options.shard_tokens),
        seeds=prompt_seeds([prompt.id for prompt in prompts], options.seed),
        template_date=date if is_dated else None,
        warnings=(*doubts(encoded), *notes),
    )


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


def _decoding(
    model: MoEModel, prompts: PromptSet, options: Options, begun: Mapping[str, Any] | None
) -> tuple[Decoding | None, list[str]]:
    """How responses are made, if any are; and what is said where an earlier version began and made them otherwise."""
    if not options.generate:
        return None, []
    check_unanswered(prompts)
    decoding = decoding_of(model, options.generate, options.temperature)
    if not decoding.shaping or begun is None or not was_bare(begun):
        return decoding, []
    names = ", ".join(decoding.shaping)  # that version had no use for these options of the generation config
    note = f"responses are made as this capture was begun, without {names} of the generation config"
    return replace(decoding, shaping={}), [note]


def _lengths(encoded: Sequence[Encoded], answers: Answers | None, samples: int) -> list[int]:
    """Tokens of each sequence before generation."""
    return [
        len(prompt.ids) + (len(answers[prompt.id][sample]) if answers is not None else 0)
        for prompt in encoded
        for sample in range(samples)
    ]


def _check_where(model: MoEModel, options: Options) -> None:
    anatomy = model.anatomy
    for layer in options.layers or ():
        if not anatomy.layer(layer).is_moe:
            raise WorkbenchError(
                f"Layer {layer} of {anatomy.model} is dense: it has no logits or expert outputs to keep."
            )
    anatomy.check_refs(options.experts or ())


def _check_vocabulary(model: MoEModel, encoded: Sequence[Encoded], answers: Answers | None) -> None:
    """Every id must have an embedding; the tokenizer of another model may give more."""
    rows = model.facts.n_embeddings
    for prompt in encoded:
        ids = [*prompt.ids, *(i for answer in (answers or {}).get(prompt.id, ()) for i in answer)]
        if ids and max(ids) >= rows:
            raise WorkbenchError(
                f"The prompt '{prompt.id}' has the token id {max(ids)}, and {model.anatomy.model} has embeddings 0-{rows - 1}: "
                f"the tokenizer is another model's; load(..., tokenizer) with its own."
            )


def _check_context(model: MoEModel, prompts: PromptSet, lengths: Sequence[int], options: Options) -> None:
    limit = model.anatomy.context_length
    if limit is None:
        return
    for number, length in enumerate(lengths):
        if length + max(options.generate - 1, 0) > limit:
            name = prompts.prompts[number // options.samples].id
            more = f" and {options.generate} to generate" if options.generate else ""
            raise WorkbenchError(
                f"The prompt '{name}' has {length} tokens{more}, and {model.anatomy.model} takes {limit}; shorten it or leave "
                f"it out."
            )
