"""What an answer is: refused or not, right or not, long or short. No torch.

classifier.py   `Response`, the built-in refusal rule, `classify`
facts.py        whether an answer says one of a prompt's facts
texts.py        words, languages and repetition of a text
metrics.py      the metrics by name
endpoint.py     what a model on a server says to a question, with retries
llm_judge.py    such a model as judge
"""

from workbench.responses.classifier import (
    Classifier,
    ExactAnswer,
    Refusal,
    Response,
    answer_part,
    classify,
    is_exact,
    responses,
)
from workbench.responses.facts import facts_of, is_right, plain
from workbench.responses.llm_judge import QUESTION, endpoint_at, is_http, judge
from workbench.responses.metrics import (
    LABEL_READ,
    METRICS,
    Metric,
    MetricFunction,
    MetricsArgument,
    length,
    metrics_from,
    refused,
    revealed,
    thinks,
)

__all__ = [
    "LABEL_READ",
    "METRICS",
    "QUESTION",
    "Classifier",
    "ExactAnswer",
    "Metric",
    "MetricFunction",
    "MetricsArgument",
    "Refusal",
    "Response",
    "answer_part",
    "classify",
    "endpoint_at",
    "facts_of",
    "is_exact",
    "is_http",
    "is_right",
    "judge",
    "length",
    "metrics_from",
    "plain",
    "refused",
    "responses",
    "revealed",
    "thinks",
]
