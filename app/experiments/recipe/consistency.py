"""What a recipe's keys have to say together: names that exist, plans that can be made, sets that are measured."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from probes.catalogue import ASKED, RANKERS
from probes.options import mistake
from probes.renamed import old_words
from workbench import Plan, WorkbenchError
from workbench.errors import listed, suggestion
from workbench.plan import VALUED_KINDS
from workbench.responses import METRICS, is_http

from .answer_metrics import LABEL
from .grid import chosen
from .metric_words import unit_of
from .metrics import CHOICE, DIVERGENCE, JUDGE, metrics_of
from .recipe import Recipe
from .sections import Choice, Claim, NamedMetric, Plans, Prompts, Ranking

Mistake = tuple[str, str]


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raises `WorkbenchError` for the first key that does not go with the others."""
    for place, what in _mistakes(recipe):
        raise WorkbenchError(f"{where}: '{place}' {what}")


def _mistakes(recipe: Recipe) -> Iterator[Mistake]:
    for source, n in Counter(m.source for m in recipe.models).items():
        if n > 1:
            yield (
                "models",
                f"names '{source}' {n} times, and tables tell models apart by source; give it a recipe for each.",
            )
    for name, spec in recipe.metrics.items():
        yield from _metric_mistakes(f"metrics.{name}", name, spec)
    for name, spec in recipe.prompts.items():
        yield from _prompt_mistakes(recipe, name, spec)
    if not any(spec.role != "choosing" for spec in recipe.measured().values()):
        yield "prompts", "has no set to measure on; give one of role target."
    yield from _capture_mistakes(recipe)
    if recipe.judge is not None and not is_http(recipe.judge.address):
        yield "judge.address", f"is '{recipe.judge.address}'; it should begin with http:// or https:// and name a host."
    yield from twice("rankings", [r.name for r in recipe.rankings])
    for i, ranking in enumerate(recipe.rankings):
        yield from _ranking_mistakes(recipe, f"rankings[{i}]", ranking)
    yield from twice("plans", [p.name for p in recipe.plans if p.name is not None])
    for i, plans in enumerate(recipe.plans):
        yield from _plan_mistakes(recipe, f"plans[{i}]", plans)
    yield from _measure_mistakes(recipe)
    yield from twice("claims", [c.name for c in recipe.claims])
    for i, claim in enumerate(recipe.claims):
        yield from _claim_mistakes(recipe, f"claims[{i}]", claim)
    if recipe.choice is not None:
        yield from _choice_mistakes(recipe, recipe.choice)
    for i, reference in enumerate(recipe.references):
        if reference.ranking is not None:
            yield from unknown(f"references[{i}].ranking", "ranking", reference.ranking, _rankings(recipe))


def _prompt_mistakes(recipe: Recipe, name: str, spec: Prompts) -> Iterator[Mistake]:
    place = f"prompts.{name}"
    if spec.role == "ranking" and spec.metrics:
        yield f"{place}.metrics", "measures prompts that experts are ranked on; give held-out prompts as another set."
    if spec.role != "ranking" and not metrics_of(recipe, name):
        yield f"{place}.metrics", "is empty, so nothing would be measured there; name a metric, or take the set out."
    if spec.role != "ranking" and spec.generate is not None:
        yield f"{place}.generate", "is of ranking sets, and this one is measured; give max_new_tokens."
    known = [*METRICS, *CHOICE, *DIVERGENCE, JUDGE, *recipe.metrics]
    for i, metric in enumerate(spec.metrics):
        if ":" not in metric:
            yield from unknown(f"{place}.metrics[{i}]", "metric", metric, known)
        if metric == JUDGE and recipe.judge is None:
            yield f"{place}.metrics[{i}]", "asks a judge, and there is no [judge]; give it an address and a model."
    yield from twice(f"{place}.metrics", spec.metrics)


def _metric_mistakes(place: str, name: str, spec: NamedMetric) -> Iterator[Mistake]:
    if ":" in name or name in (*METRICS, *CHOICE, *DIVERGENCE, JUDGE):
        yield place, "has a name that means something already; give it another."
    if (spec.metric is None) == (spec.pattern is None):
        yield f"{place}.metric", "and pattern say what is counted; give exactly one of them."
    if spec.metric is not None and ":" not in spec.metric:
        yield from unknown(f"{place}.metric", "metric", spec.metric, list(METRICS))
        if (unit := unit_of(spec.metric)).factor == 1:
            yield (
                f"{place}.metric",
                f"is measured in {unit.level}, and a recipe's own are shares; name it in prompts.*.metrics.",
            )
    try:
        re.compile(LABEL.sub("x", spec.pattern or ""))
    except re.error as error:
        yield (
            f"{place}.pattern",
            f"is no regular expression ({error}); mend it, or write what is meant with a backslash.",
        )


def _choice_mistakes(recipe: Recipe, choice: Choice) -> Iterator[Mistake]:
    yield from unknown("choice.claim", "claim", choice.claim, [c.name for c in recipe.claims])
    choosing = [name for name, spec in recipe.prompts.items() if spec.role == "choosing"]
    yield from unknown("choice.prompts", "prompt set of role choosing", choice.prompts, choosing)
    known = list(metrics_of(recipe, choice.prompts))
    yield from unknown("choice.metric", f"metric of '{choice.prompts}'", choice.metric, known)


def _capture_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    how = recipe.capture
    if how.responses and (how.generate or any(spec.generate for spec in recipe.prompts.values())):
        yield "capture.generate", "goes with given responses, and a capture does one of the two; drop one."
    if how.samples > 1 and not how.responses and not (how.generate and how.temperature):
        yield (
            "capture.samples",
            f"would make the same rows {how.samples} times; give generate and a temperature above 0 as well.",
        )


def _ranking_mistakes(recipe: Recipe, place: str, ranking: Ranking) -> Iterator[Mistake]:
    yield from unknown(f"{place}.prompts", "prompt set", ranking.prompts, list(recipe.prompts))
    if recipe.prompts[ranking.prompts].role != "ranking":
        yield f"{place}.prompts", f"ranks on '{ranking.prompts}', which is measured; rank on a set of role ranking."
    if ranking.method in ASKED and ranking.method not in RANKERS:
        kind = ASKED[ranking.method].answers
        what = f"names '{ranking.method}', which answers a {kind} and ranks no experts; rank by one of {', '.join(RANKERS)}."
        yield f"{place}.method", what
        return
    yield from unknown(f"{place}.method", "ranking method", ranking.method, list(RANKERS))
    renamed = old_words(RANKERS[ranking.method].load())
    for option in ranking.options:
        if option in renamed:
            yield f"{place}.options.{option}", f"is called {renamed[option]} now; write {renamed[option]}."
            return
    if (found := mistake(RANKERS[ranking.method], ranking.options)) is not None:
        yield f"{place}.options.{found.name}", found.what
    beside = RANKERS[ranking.method].beside
    if beside and beside not in ranking.options:
        yield f"{place}.options", f"lacks {beside}, the path of the store that {ranking.method} compares with; give it."
    if ranking.method == "super_experts" and recipe.controls.super_experts == "exclude":
        yield "controls.super_experts", f"excludes what '{ranking.name}' looks for; make it \"flag\"."


def _plan_mistakes(recipe: Recipe, place: str, plans: Plans) -> Iterator[Mistake]:
    for i, name in enumerate(plans.prompts):
        yield from unknown(f"{place}.prompts[{i}]", "measured prompt set", name, list(recipe.measured()))
    if plans.text is not None:
        yield from _text_mistakes(place, plans)
        return
    if not plans.ranking:
        yield place, "names no experts; give ranking, n and edit, or an explicit plan as text."
    for i, name in enumerate(plans.ranking):
        yield from unknown(f"{place}.ranking[{i}]", "ranking", name, _rankings(recipe))
    if bool(plans.edit) == bool(plans.parts):
        yield f"{place}.edit", "and parts say what happens to the experts; give exactly one of them."
    if not plans.n and not (plans.parts and all(p.n for p in plans.parts)):
        yield f"{place}.n", "is missing, so it is not known how many experts are meant; give it, as n = [1, 2, 4]."
    if plans.parts and plans.value:
        yield f"{place}.value", "has no place beside parts; give each part its own."
    yield from _value_mistakes(recipe, place, plans)


def _text_mistakes(place: str, plans: Plans) -> Iterator[Mistake]:
    default = Plans()
    given = [
        k
        for k in Plans.model_fields
        if k not in ("text", "name", "prompts") and getattr(plans, k) != getattr(default, k)
    ]
    if given:
        yield f"{place}.{given[0]}", "has no place beside text, which is a whole plan; take one of them out."
    try:
        if not Plan.parse(str(plans.text)) and "*" not in str(plans.text):
            yield f"{place}.text", 'names no edit; write it as "off L2E8; off L2E20".'
    except WorkbenchError as error:
        if "*" not in str(plans.text):  # what a star stands for, the model says
            yield f"{place}.text", f"is no plan: {error}"


def _value_mistakes(recipe: Recipe, place: str, plans: Plans) -> Iterator[Mistake]:
    given = [(place, edit, plans.value) for edit in plans.edit]
    given += [(f"{place}.parts[{i}]", p.edit, () if p.value is None else (p.value,)) for i, p in enumerate(plans.parts)]
    for where, edit, values in given:
        wanted = '"mean"' if edit == "replace" else "a number"
        if edit in VALUED_KINDS and not any((v == "mean") == (edit == "replace") for v in values):
            yield f"{where}.value", f"gives {edit} no strength; it needs {wanted}."
        if edit == "replace" and "outputs" not in {name.partition(":")[0] for name in recipe.capture.keep or ()}:
            yield "capture.keep", 'lacks "outputs", over which replace takes its mean; add it.'
    if plans.value and not VALUED_KINDS & set(plans.edit):
        yield f"{place}.value", "has no edit that takes a strength; give scale, bias or replace, or take it out."
    for i, part in enumerate(plans.parts):
        if part.value is not None and part.edit not in VALUED_KINDS:
            yield f"{place}.parts[{i}].value", f"has no place: {part.edit} takes no strength."


def _measure_mistakes(recipe: Recipe) -> Iterator[Mistake]:
    for key, name in (("perplexity", recipe.measure.perplexity), ("sinks", recipe.measure.sinks)):
        if name is not None:
            yield from unknown(f"measure.{key}", "prompt set", name, list(recipe.prompts))
            if recipe.prompts[name].role == "ranking":
                yield f"measure.{key}", f"measures on '{name}', which experts are ranked on; give another set."


def _claim_mistakes(recipe: Recipe, place: str, claim: Claim) -> Iterator[Mistake]:
    measured = [name for name, spec in recipe.measured().items() if spec.role != "choosing"]
    yield from unknown(f"{place}.prompts", "measured prompt set", claim.prompts, measured)
    known = list(metrics_of(recipe, claim.prompts))
    yield from unknown(f"{place}.metric", f"metric of '{claim.prompts}'", claim.metric, known)
    if claim.ranking is not None:
        yield from unknown(f"{place}.ranking", "ranking", claim.ranking, _rankings(recipe))
    if claim.plan is not None:
        names = [p.name for p in recipe.plans if p.name is not None]
        yield from unknown(f"{place}.plan", "plan", claim.plan, names)
    found = chosen(recipe, claim)
    if len(found) != 1:
        do = "name more of ranking, edit, n, value, end, phase, plan" if found else "no such plan is in plans; add it"
        yield place, f"is about {len(found)} plans of this recipe, and should be about one; {do}."
    elif found[0].prompts and claim.prompts not in found[0].prompts:
        on = listed(found[0].prompts)
        yield (
            f"{place}.prompts",
            f"is '{claim.prompts}', and its plan is measured on {on} alone; add the set to the plan's prompts.",
        )


def _rankings(recipe: Recipe) -> list[str]:
    return [ranking.name for ranking in recipe.rankings]


def unknown(place: str, what: str, word: str, known: list[str]) -> Iterator[Mistake]:
    if word not in known:
        has = f"there is {listed(known, 40)}" if known else "there is none"
        yield place, f"names the {what} '{word}', which does not exist; {has}{suggestion(word, known) or '.'}"


def twice(place: str, names: Sequence[str]) -> Iterator[Mistake]:
    for name, n in Counter(names).items():
        if n > 1:
            yield place, f"uses the name '{name}' {n} times; give each its own."
