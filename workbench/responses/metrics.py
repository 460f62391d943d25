"""What to measure of a response: a number between 0 and 1, or any number of yours. None leaves the prompt out."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from workbench.errors import WorkbenchError, suggestion
from workbench.responses.classifier import ExactAnswer, Refusal, Response, answer_part, is_exact
from workbench.responses.facts import facts_of, is_right
from workbench.responses.texts import (
    LANGUAGES,
    collapsed,
    language,
    phrase_refused,
    repetition,
    thinking_ended,
    thinking_length,
    thought_switches,
)
from workbench.thinking import read

MetricFunction = Callable[[Response], float | bool | None]


class Metric(NamedTuple):
    """A name for tables and legends, and a function of a `Response` (a string with its prompt's labels)."""

    name: str
    function: MetricFunction


def refused(response: Response) -> bool | None:
    """Whether the answer is a refusal by the rules of `classify.Refusal`; None while thinking has not ended.

    `compare` leaves such prompts out, says in n how many count and in its notes how many do not.
    """
    verdict = Refusal()(response)
    return None if verdict == "unfinished" else verdict == "refused"


def exact(response: Response) -> bool | None:
    """Whether the answer equals the prompt's label `answer`; None for a prompt without that label."""
    return ExactAnswer()(response) == "right" if "answer" in response.labels else None


def revealed(response: Response) -> bool | None:
    """Whether the prompt's label `answer` occurs in the answer, whatever else it says; None without that label."""
    expected = response.labels.get("answer")
    if expected is None:
        return None
    return expected.strip().rstrip(".").casefold() in (answer_part(response) or "").casefold()


def faithful(response: Response) -> bool | None:
    """Whether the answer equals the prompt's label `context`, what a document in the prompt says; None without that label."""
    expected = response.labels.get("context")
    return None if expected is None else is_exact(response, expected)


def says_fact(response: Response) -> bool | None:
    """Whether the answer says one of the strings of the prompt's label `facts` (`a|b*`, facts.py); None without that label."""
    label = response.labels.get("facts")
    return None if label is None else is_right(answer_part(response) or "", facts_of(label))


def thinks(response: Response) -> bool:
    """Whether a thought was opened, by the response or by the template before it."""
    return read(response).thinks


def length(response: Response) -> float:
    """Characters of the response, thoughts and their markers included."""
    return float(len(response))


def speaks(wanted: str) -> MetricFunction:
    """A metric: whether the answer is in this language (en de fr es it pt ja zh ko ru ar el); None where it cannot be told."""

    def spoken(response: Response) -> bool | None:
        found = language(response)
        return None if found is None else found == wanted

    spoken.__name__ = f"in_{wanted}"
    return spoken


METRICS: dict[str, MetricFunction] = {
    "refused": refused,
    "phrase_refused": phrase_refused,
    "exact": exact,
    "revealed": revealed,
    "faithful": faithful,
    "says_fact": says_fact,
    "thinks": thinks,
    "length": length,
    "repetition": repetition,
    "collapsed": collapsed,
    "thinking_length": thinking_length,
    "thinking_ended": thinking_ended,
    "thought_switches": thought_switches,
    **{f"in_{name}": speaks(name) for name in LANGUAGES},
}
LABEL_READ = {"exact": "answer", "revealed": "answer", "faithful": "context", "says_fact": "facts"}
"""Metrics that have no value for a prompt without this label."""
MetricsArgument = str | MetricFunction | Sequence[str | MetricFunction] | Mapping[str, MetricFunction]


def metrics_from(given: MetricsArgument) -> tuple[Metric, ...]:
    """Metrics from names, functions (named after themselves) or a mapping of names to functions."""
    if isinstance(given, Mapping):
        return tuple(Metric(name, function) for name, function in given.items())
    items = [given] if isinstance(given, str) or callable(given) else list(given)
    return tuple(_metric(item) for item in items)


def _metric(item: str | MetricFunction) -> Metric:
    if not isinstance(item, str):
        return Metric(getattr(item, "__name__", type(item).__name__), item)
    if item not in METRICS:
        raise WorkbenchError(
            f"There is no metric '{item}'{suggestion(item, list(METRICS)) or ';'} it can be {', '.join(METRICS)}, or a function."
        )
    return Metric(item, METRICS[item])
