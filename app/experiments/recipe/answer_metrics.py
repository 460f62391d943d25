"""The metrics that read answers, as functions: the workbench's, the recipe's own, the user's, and a judge."""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from workbench import WorkbenchError
from workbench.responses import LABEL_READ, Metric, MetricFunction, Response, answer_part, metrics_from

from .metrics import JUDGE, spelt_out, text_metrics
from .recipe import Recipe
from .sections import NamedMetric

LABEL = re.compile(r"\{([A-Za-z_]\w*)\}")
"""Where a pattern takes the words of a prompt's label."""


def answer_metrics(recipe: Recipe) -> dict[str, tuple[Metric, ...]]:
    """By prompt set; a judge is one object, so that it is asked once an answer."""
    judge = _judge(recipe)
    return {
        name: tuple(
            Metric(m, judge) if m == JUDGE and judge else _metric(m, spelt_out(recipe, m))
            for m in text_metrics(recipe, name)
        )
        for name in recipe.measured()
    }


def labels_read(spec: NamedMetric) -> set[str]:
    """The labels without which a prompt has no value by this metric."""
    read = set(LABEL.findall(spec.pattern or ""))
    return read | ({LABEL_READ[spec.metric]} if spec.metric in LABEL_READ else set())


def applies(spec: NamedMetric, labels: Mapping[str, str]) -> bool:
    """Whether a prompt with these labels is one that the metric is about."""
    return all(labels.get(name) in values for name, values in spec.labels.items())


def value_of(spec: NamedMetric, asked: MetricFunction, response: Response) -> float | bool | None:
    """What a response counts as; None leaves it out."""
    if not applies(spec, response.labels):
        return None
    found = asked(response)
    return spec.otherwise if found is None else found


def own_metric(name: str) -> Metric:
    """A metric of the user's: `module:function`, imported. Raises `WorkbenchError` when there is none."""
    module, _, function = name.partition(":")
    try:
        own = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise WorkbenchError(
            f"The metric '{name}' cannot be imported ({error}); name a function of an installed module as module:function."
        ) from error

    def asked(response: Any) -> float | None:
        try:
            value = own(response)
            return None if value is None else float(value)
        except Exception as error:
            raise WorkbenchError(
                f"The metric '{name}' fails on the response to the prompt '{response.prompt_id}' ({type(error).__name__}: "
                f"{error}); it takes a response and returns a number or None. Mend it and run again: what was done stays done."
            ) from error

    return Metric(name, asked)


def _metric(name: str, spec: NamedMetric) -> Metric:
    asked = _function(spec)
    return Metric(name, lambda response: value_of(spec, asked, response))


def _function(spec: NamedMetric) -> MetricFunction:
    if spec.metric is None:
        return _holds(str(spec.pattern))
    return (own_metric(spec.metric) if ":" in spec.metric else metrics_from(spec.metric)[0]).function


def _holds(pattern: str) -> Callable[[Response], bool | None]:
    """Whether the answer holds the pattern, thoughts left out; None for a prompt without a label that the pattern takes."""

    def holds(response: Response) -> bool | None:
        if any(name not in response.labels for name in LABEL.findall(pattern)):
            return None
        filled = LABEL.sub(lambda found: re.escape(response.labels[found[1]]), pattern)
        return re.search(filled, answer_part(response) or "", re.DOTALL) is not None

    return holds


def _judge(recipe: Recipe) -> Any:
    from workbench.responses import QUESTION, judge

    asked = recipe.judge
    return None if asked is None else judge(asked.address, asked.model, asked.question or QUESTION)
