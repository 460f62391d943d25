"""The tables of a recipe as frozen models: what each key means stands under it, and docs/recipes.md is made from that.

Only what one key says by itself is checked here; what keys say together is `consistency`'s work.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, WrapValidator
from pydantic import Strict as StrictType
from pydantic_core import PydanticCustomError

from workbench.plan import Kind
from workbench.shards import SAMPLED

Role = Literal["ranking", "choosing", "target", "capability"]
_Kept = Literal[
    "norms", "residual", "logits", "outputs", "router_input", "inner", "matrices", "routers", "directions", "alignments"
]  # fmt: skip
Kept = Annotated[_Kept, WrapValidator(lambda value, literal: _share(value) or literal(value))]
End = Literal["top", "bottom", "least", "least_by_layer"]
PhaseName = Literal["all", "prompt", "generated"]
Count = Annotated[int, StrictType(), Field(ge=1)]
Draws = Annotated[int, StrictType(), Field(ge=1, le=100_000)]
Natural = Annotated[int, StrictType(), Field(ge=0)]
Number = Annotated[float, StrictType()]
Name = Annotated[str, Field(min_length=1, max_length=120)]
FileName = Annotated[str, Field(pattern=r"^\w[\w .-]{0,59}$")]


def _share(value: Any) -> str | None:
    """What is kept of a share of the tokens, as outputs:0.1; None for what has no share."""
    what, colon, share = str(value).partition(":")
    if not colon or what not in SAMPLED:
        return None
    if not re.fullmatch(r"\d*\.?\d+", share) or not 0 < float(share) <= 1:
        raise PydanticCustomError("share", f"Value should have a share of the tokens above 0, up to 1, like {what}:0.1")
    return value


def as_several(value: Any) -> Any:
    """What stands alone as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def as_source(value: Any) -> Any:
    """A name alone as the table it stands for."""
    return {"source": value} if isinstance(value, str) else value


Several = BeforeValidator(as_several)


class Section(BaseModel):
    """A table of a recipe: frozen, and a key that it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class ModelSource(Section):
    """A model: its name alone (`"demo"`), or a table."""

    source: Name
    """demo, tiny/FAMILY, a folder, or a Hugging Face id."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto is the checkpoint's own."""
    device: str = "auto"
    """cpu, cuda, cuda:1; auto is CUDA when there is one."""
    device_map: str | None = None
    """Passed on to transformers (`"auto"` spreads a large model over the devices)."""
    revision: str | None = None
    """Of the Hugging Face repository."""
    engine: Name | None = None
    """What runs it: native (if nothing is said), nnsight, ndif, vllm, or a class of your own as `"module:Class"`."""


class Prompts(Section):
    """A named prompt set, `[prompts.NAME]`."""

    source: Name
    """A bundled name, a JSONL, CSV or Parquet file (beside the recipe or in the working folder), or a task file (.yaml) of
    lm-evaluation-harness."""
    role: Role
    """ranking: captured and ranked on, never measured. choosing: what plans were chosen on, so no claim is about it; it may
    share prompts with a ranking set, and is measured without controls. target: the behaviour; every control is measured on
    it. capability: what should stay; measured with fewer random draws."""
    split: str | None = None
    """Only the prompts of this split."""
    labels: dict[str, Annotated[tuple[str, ...], Several]] = {}
    """Only prompts with these label values: `{sensitive = "yes"}`, or a list of values."""
    limit: Count | None = None
    """Only the first so many of them."""
    unseen: StrictBool | Literal["keep"] = False
    """Of prompts that a ranking set holds as well, by id or by words: true leaves them out, "keep" measures them all the same
    and says so in the notes; without it such a set is refused."""
    metrics: Annotated[tuple[Name, ...], Several] = ()
    """What is measured: names out of `workbench.responses.metrics` or of the recipe's [metrics]; choice, choice_normalised and
    choice_margin (multiple choice by log-likelihood); kl and kl_first (nats, to the base, over the base's answer and at its
    first token); judge; or your own function as `"module:function"`."""
    max_new_tokens: Count = 48
    """An answer's tokens at most."""
    generate: Natural | None = None
    """Of a ranking set: tokens to generate at most, where it is not what [capture] says."""


class NamedMetric(Section):
    """A measure of the recipe's own, `[metrics.NAME]`: another metric on some of a set's prompts, or a pattern. A share."""

    metric: Name | None = None
    """Out of `workbench.responses.metrics`, or your own function as `"module:function"`."""
    pattern: str | None = None
    """Instead: a regular expression that the answer has to hold; `{answer}` stands for the words of the prompt's label."""
    labels: dict[str, Annotated[tuple[str, ...], Several]] = {}
    """Only prompts with these label values: `{sensitive = "yes"}`, or a list of values."""
    otherwise: Number | None = None
    """What an answer counts as for which the metric has no value (a thought that never ended), instead of being left out."""
    words: str = ""
    """What is counted, for tables."""
    role: Literal["target", "capability"] | None = None
    """The behaviour, or what should stay, where that is not the prompt set's role."""


class Capture(Section):
    """Options of `capture` for the ranking sets."""

    generate: Natural = 0
    """Tokens to generate at most; 0: the prompts alone."""
    keep: Annotated[tuple[Kept, ...], Several] | None = None
    """What is kept beside the slots; if not given, norms and residual, as far as the engine shows them. Both are needed to flag
    super experts, outputs to replace by the mean;
    `outputs:0.1`, `router_input:0.1`, `inner:0.1` keep a tenth of the tokens."""
    samples: Count = 1
    """Responses per prompt."""
    temperature: Annotated[Number, Field(ge=0)] = 0.0
    """0 is greedy."""
    responses: StrictBool = False
    """Run the responses given in the prompt file instead of generating."""


class Ranking(Section):
    """Experts ranked by a method on a ranking set, `[[rankings]]`."""

    name: Name
    """What plans and claims call it."""
    method: Name
    """Any probe that ranks; `workbench rank --help` names them."""
    prompts: Name
    """The prompt set, of role ranking."""
    options: dict[str, Any] = {}
    """The method's own options."""


class Part(Section):
    """One of several parts joined into a plan."""

    edit: Kind
    """off, drop, mute, force, scale, bias or replace."""
    end: End = "top"
    """Which end of the ranking."""
    n: Count | None = None
    """How many experts; without it, the plan's own n."""
    value: Number | Literal["mean"] | None = None
    """Of scale and bias a number, of replace "mean"."""


class Plans(Section):
    """Plans made from rankings, `[[plans]]`: everything in lists is crossed. Or one explicit plan: text and name."""

    ranking: Annotated[tuple[Name, ...], Several] = ()
    """Names of rankings."""
    end: Annotated[tuple[End, ...], Several] = ("top",)
    """top: the largest scores above zero. bottom: the most negative. least: the lowest scores of all, those that no token
    selected first, for pruning; least_by_layer: the same number out of every layer, so n is a multiple of their number. Random
    draws beside least are drawn from all experts, the plan's included."""
    n: Annotated[tuple[Count, ...], Several] = ()
    """How many experts."""
    edit: Annotated[tuple[Kind, ...], Several] = ()
    """off, drop, mute, force, scale, bias or replace."""
    value: Annotated[tuple[Number | Literal["mean"], ...], Several] = ()
    """Strengths of scale and bias; "mean" for replace (over the ranking's store, which has to keep outputs)."""
    phase: Annotated[tuple[PhaseName, ...], Several] = ("all",)
    """Where the edits hold: all, prompt or generated positions."""
    span: tuple[str, str] | None = None
    """Only between these two tokens, as `["<think>", "</think>"]`."""
    parts: tuple[Part, ...] = ()
    """Several parts at once instead of end, edit and value (SteerMoE: one end forced, the other off)."""
    prompts: Annotated[tuple[Name, ...], Several] = ()
    """The measured prompt sets, where not all are meant: their controls are measured there alone as well."""
    text: str | None = None
    """An explicit plan instead: `"off L2E8; off L2E20"`."""
    name: Name | None = None
    """What claims call an explicit plan, or one of parts."""


class Controls(Section):
    """What every plan is set beside. All on by default."""

    count: Natural = 10
    """Draws of as many experts anywhere."""
    layer: Natural = 10
    """Draws of as many experts of the same layers."""
    usage: Natural = 10
    """Draws of experts used as often (loads of the ranking's store)."""
    bottom: StrictBool = True
    """The same edit on the ranking's other end."""
    super_experts: Literal["flag", "exclude"] = "flag"
    """flag: plans may hold super experts, and the tables say which. exclude: plans take the next expert instead."""
    capability_draws: Natural = 3
    """Draws of each kind that are measured on capability sets as well."""


class Statistics(Section):
    """Intervals, tests, and what corrects for many plans."""

    bootstrap: Draws = 2000
    """Resamples of whole clusters of prompts, for 95 % intervals."""
    permutations: Draws = 10000
    """Sign flips of whole clusters; all of them where there are no more than that."""
    correction: Literal["max_standardised", "max", "holm", "none"] = "max_standardised"
    """Over all plans of the recipe, per model, prompt set and metric: the largest of every sign flip (Westfall and Young),
    each plan's change in units of its own spread, so that one unsteady plan does not hide the others; without that; or
    Holm's."""


class Measure(Section):
    """What is measured beside the answers."""

    perplexity: Name | None = None
    """A prompt set whose given text (its responses, else its plain texts) is read under every arm: metric nll, in nats a
    token."""
    sinks: Name | None = None
    """A prompt set on whose prompts the attention to the first token is read under every arm: metric sink_share, and the
    table sinks."""
    distributions: StrictBool = True
    """How far plans move the next-token distributions over the base's answers. Random draws are measured so only where a set
    names kl or kl_first."""


class Judge(Section):
    """An OpenAI-compatible endpoint for the metric judge. Off unless this table is there: answers are sent to it."""

    address: Name
    """As `http://localhost:8000/v1`."""
    model: Name
    """Its name there."""
    question: str | None = None
    """A template with {response}; without it, whether the answer is a refusal."""


class Choice(Section):
    """On what a claim's plan was chosen, `[choice]`: the report shows the candidates there, next to what was chosen."""

    claim: FileName
    """The claim whose plan was chosen; the candidates are the recipe's plans that differ in n or in value alone."""
    prompts: Name
    """The set of role choosing."""
    metric: Name
    """By which of its metrics."""
    when: str = ""
    """When the choice was made and where it is written down, as part of a sentence: "before this run"."""


class PaperNumber(Section):
    """What the paper reports, printed beside ours."""

    what: str
    """What was measured, in words."""
    model: str | None = None
    """On which model."""
    base: Number | None = None
    """Without steering."""
    steered: Number | None = None
    """With it."""
    difference: Number | None = None
    """Where the paper gives the change alone."""
    relative: StrictBool = False
    """The numbers are shares of the paper's own base (base = 1): the change is shown as that share of ours."""
    grade: str | None = None
    """How well it is known: text, abstract, second-hand, ..."""


class Claim(Section):
    """A statement to be judged, with one figure, `[[claims]]`. It chooses one plan by ranking, edit, n ... or by name."""

    name: FileName
    """The figure's name: letters, digits, spaces, _ . -"""
    text: Name
    """The statement."""
    prompts: Name
    """On which prompt set."""
    metric: Name
    """By which of its metrics."""
    ranking: Name | None = None
    """The plan's ranking."""
    edit: Kind | None = None
    """The plan's edit."""
    n: Count | None = None
    """The plan's number of experts."""
    value: Number | Literal["mean"] | None = None
    """The plan's strength."""
    end: End | None = None
    """The plan's end."""
    phase: PhaseName | None = None
    """The plan's phase."""
    plan: Name | None = None
    """The plan's name (explicit plans, and plans of parts)."""
    direction: Literal["down", "up", "none"]
    """What should happen to the metric; none: nothing."""
    at_least: Annotated[Number, Field(gt=0)] | None = None
    """The smallest effect that would count; without it half of the paper's change, else 0.05."""
    within: Annotated[Number, Field(gt=0)] = 0.05
    """For direction none: how far it may move."""
    paper: PaperNumber | None = None
    """What the paper reports."""
    differences: Annotated[tuple[str, ...], Several] = ()
    """How our measurement differs from the paper's."""


class Paper(Section):
    """Whose claims these are."""

    title: Name
    """Of the paper."""
    arxiv: str | None = None
    """Its number."""
    model: str | None = None
    """Put this into `models` to run it on the paper's."""
    code: str | None = None
    """The repository and commit that were read."""
    note: str | None = None
    """What was read of it, and how well."""


class Reference(Section):
    """A value that the paper gives for one expert, `[[references]]`: checked where the model is the paper's."""

    model: Name
    """The model it belongs to."""
    expert: Name
    """As L1E68."""
    value: Number
    """The paper's."""
    what: Name
    """What was measured, in words."""
    ranking: Name | None = None
    """Which ranking's score it is compared with."""
    source: str | None = None
    """Where it stands."""
