"""Every probe, once: what it asks, what it needs of a store, how its score reads, and which paper it is from.

The command line, recipes, the dashboard and the README read this and list no probe themselves.
"""

from math import inf

from probes.method import Method, Need, Reading
from workbench.errors import WorkbenchError, suggestion

__all__ = ["ASKED", "METHODS", "RANKERS", "Method", "Need", "Reading", "asked", "ranker", "table"]

METHODS = (
    Method(
        "ftri",
        "contrasts.ftri:ftri",
        title="fTRI",
        sentence="selected more in one class of responses than in another",
        score="fTRI",
        unit="difference of selection rates",
        range=(-1, 1),
        needs=("labels or responses",),
        classes=("target", "baseline"),
        negative_end="selected more in the baseline",
        paper="MoTE, arXiv 2502.11096",
    ),
    Method(
        "contrast",
        "contrasts.contrast:contrast",
        title="Contrast",
        sentence="switches between the sides of paired prompts",
        score="contrast",
        unit="risk difference",
        range=(-1, 1),
        needs=("labels or responses",),
        classes=("target", "baseline"),
        paired=True,
        negative_end="selected more in the baseline",
        paper="SteerMoE, arXiv 2509.09660",
    ),
    Method(
        "safex",
        "contrasts.safex:safex",
        title="SAFEx",
        sentence="used stably by one class of prompts, and not by another",
        score="SAFEx",
        unit="share of tokens",
        range=(0, 1),
        needs=("labels or responses",),
        classes=("target", "baseline"),
        paper="SAFEx, arXiv 2506.17368",
        words={
            "alpha": "Alpha: share of experts that come first",
            "n_resamples": "Resamples",
            "share": "Share of the resamples to be first in",
        },
    ),
    Method(
        "drift",
        "contrasts.stores:drift",
        title="Drift",
        sentence="moved from one store to another: before and after tuning, or on other prompts",
        score="drift",
        unit="difference of selection rates or weights; share of the output's size",
        range=(-inf, inf),
        beside="other",
        negative_end="used, given or writing less in the other store",
        words={"what": "What moved", "other": "The other store"},
    ),
    Method(
        "npmi",
        "associations.npmi:npmi",
        title="nPMI",
        sentence="goes with a token, a role or a label",
        score="nPMI",
        unit="nPMI",
        range=(-1, 1),
        goes_with=("token", "role", "target"),
        negative_end="selected away from it",
        paper="RICE, arXiv 2505.14681",
    ),
    Method(
        "usage",
        "utilisation.usage:usage",
        title="Usage",
        sentence="how much each expert is used",
        score="load",
        unit="share of the layer's selections",
        range=(0, 1),
        paper="ESFT, arXiv 2407.01906",
        readings=(
            Reading("share of tokens", {"measure": "rate"}, "share of tokens that select it"),
            Reading("mean weight", {"measure": "weight"}, "mean routing weight a token"),
        ),
    ),
    Method(
        "super_experts",
        "outputs.super_experts:super_experts",
        title="Super experts",
        sentence="writes extreme values",
        score="largest output",
        unit="largest |output|",
        range=(0, inf),
        needs=("norms", "residual"),
        paper="Super Experts, arXiv 2507.23279",
        words={
            "guard": "Guard: only in layers that form massive activations, and above ten medians",
            "shared": "Shared experts too",
        },
    ),
    Method(
        "locality",
        "traffic.locality:locality",
        title="Locality",
        sentence="how long a text stays with the same experts, and what a cache of them would hold",
        score="SRP and hit rates",
        unit="F1 of a window's best fixed choice; share of selections in a cache",
        range=(0, 1),
        paper="SRP and SCH, arXiv 2505.16056",
        answers="LayerTable",
        words={"longest": "Longest stretch, in tokens"},
    ),
    Method(
        "token_specialisation",
        "specialisation.token_specialisation:token_specialisation",
        title="Token specialisation",
        sentence="how much routing follows a token's id, or its position, rather than its context",
        score="information",
        unit="bits over chance",
        range=(0, inf),
        paper="OpenMoE, arXiv 2402.01739",
        answers="LayerTable",
        words={"least": "Spread: of ids that occur so often", "n_shuffles": "Shuffles"},
    ),
    Method(
        "saliency",
        "importance.saliency:saliency",
        title="Saliency",
        sentence="adds much to the residual stream",
        score="REAP",
        unit="mean weight x |output|",
        range=(0, inf),
        needs=("norms",),
        paper="REAP, arXiv 2510.13999",
        readings=(
            Reading("EAN", {"frequency": True, "gate": 0.0}, "|output| a token read"),
            Reading("weighted EAN", {"frequency": True}, "weight x |output| a token read"),
            Reading("MAN", {"gate": 0.0}, "mean |output|"),
            Reading("MSAN", {"gate": 0.0, "power": 2.0}, "mean |output|^2"),
        ),  # its frequency and gate mass are the share of tokens and the mean weight of `usage`
        words={
            "frequency": "Frequency: over all tokens, not over those that selected it",
            "gate": "Exponent of the weight",
            "power": "Exponent of the output's norm",
        },
    ),
    Method(
        "esft",
        "importance.relevant_sets:esft",
        title="ESFT",
        sentence="the few experts of each layer that a task's tokens go to",
        score="relevance",
        unit="share of the layer's selections",
        range=(0, 1),
        answers="SetTable",
        paper="ESFT, arXiv 2407.01906",
        words={"p": "p: the share that a set reaches"},
    ),
    Method(
        "easy_ep",
        "importance.turning:easy_ep",
        title="EASY-EP",
        sentence="turns the residual stream of these tokens",
        score="EASY-EP",
        unit="change x weight x |output| a token read",
        range=(0, inf),
        needs=("norms", "residual"),
        paper="EASY-EP, arXiv 2504.06792",
    ),
    Method(
        "shape",
        "importance.coalitions:shape",
        title="SHAPE",
        sentence="is needed by its coalitions",
        score="SHAPE",
        unit="share of tokens",
        range=(0, 1),
        paper="SHAPE, arXiv 2606.09886",
    ),
    Method(
        "tcess",
        "importance.winning_logits:tcess",
        title="TCESS",
        sentence="is what the router wants most",
        score="TCESS",
        unit="winning logit a token read",
        range=(-inf, inf),
        needs=("logits",),
        negative_end="wins with a logit below zero",
        paper="PreMoe, arXiv 2505.17639",
        words={"first": "First: how many of a token's logits count", "threshold": "Share of their softmax to pass"},
    ),
    Method(
        "unlearning_affinity",
        "importance.forget_set:unlearning_affinity",
        title="Unlearning affinity",
        sentence="is given most by the router, over what is to be forgotten",
        score="affinity",
        unit="mean softmax a response",
        range=(0, 1),
        needs=("logits",),
        paper="UOE, arXiv 2411.18797",
    ),
    Method(
        "routing_entropy",
        "utilisation.entropy:routing_entropy",
        title="Routing entropy",
        sentence="how evenly each layer routes",
        score="entropy",
        unit="bits",
        range=(0, inf),
        answers="DataFrame",
    ),
    Method(
        "co_selection",
        "utilisation.co_selection:co_selection",
        title="Co-selection",
        sentence="which experts of a layer are selected together",
        score="share of tokens",
        unit="share of tokens",
        range=(0, 1),
        answers="DataFrame",
    ),
    Method(
        "dead_experts",
        "utilisation.dead_experts:dead_experts",
        title="Dead experts",
        sentence="which experts no token selects",
        score="selections",
        unit="selections",
        range=(0, 0),
        answers="ExpertRefs",
    ),
    Method(
        "min_norm",
        "importance.activation_norm:min_norm",
        title="Minimum norm",
        sentence="writes large vectors, so that others go first",
        score="Min-EAN",
        unit="mean |output| where it is selected",
        range=(0, inf),
        needs=("norms",),
        paper="MC-Suite, arXiv 2504.05586",
        words={"of": "Norm of", "per": "Mean over"},
    ),
    Method(
        "aimer",
        "importance.flatness:aimer",
        title="AIMER",
        sentence="has flat weights, none of which stands out, and can go first",
        score="AIMER",
        unit="mean |weight| over root mean square",
        range=(0, 1),
        needs=("matrices",),
        paper="AIMER, arXiv 2603.18492",
    ),
    Method(
        "pathways",
        "structure.pathways:pathways",
        title="Pathways",
        sentence="which expert of the next layer follows an expert",
        score="lift",
        unit="share of its tokens, with lift over chance",
        range=(0, inf),
        paper="ExFlow, arXiv 2401.08383",
        answers="PairTable",
        words={"by": "Order by", "first": "Rows (0: all)", "limit_mb": "Memory at most (MB)"},
    ),
    Method(
        "placement",
        "structure.placement:placement",
        title="Placement",
        sentence="which experts should lie on one device, so that few tokens cross",
        score="crossings",
        unit="share of pairs of experts that stay on a device",
        range=(0, 1),
        paper="ExFlow, arXiv 2401.08383",
        answers="SetTable",
        words={
            "one_program": "All layers in one program as well",
            "heldout": "Held out: share of prompts to measure on",
            "seconds": "Seconds at most",
            "limit": "Variables of one program at most",
            "limit_mb": "Memory at most (MB)",
        },
    ),
    Method(
        "similarity",
        "structure.similarity:similarity",
        title="Similarity",
        sentence="which experts of a layer are alike, and how many are one too many",
        score="similarity",
        unit="cosine, and (cosine + 1) / 2",
        range=(0, 1),
        needs=("routers",),
        paper="Sub-MoE, arXiv 2506.23266; M-SMoE, arXiv 2310.01334",
        answers="PairTable",
        words={"by": "Alike by", "first": "Rows (0: all)", "limit_mb": "Memory at most (MB)"},
    ),
)
RANKERS = {method.name: method for method in METHODS if method.ranks}
"""By name, the probes that rank every expert."""
ASKED = {method.name: method for method in METHODS if method.ranks or method.answers.endswith("Table")}
"""By name, the probes that the command line and the dashboard ask: those that rank, and those that answer with a table."""


def asked(name: str) -> Method:
    """The probe of this name that a face can ask; `WorkbenchError` with the names that exist when there is none."""
    if any(method.name == name for method in METHODS) and name not in ASKED:
        raise WorkbenchError(
            f"The probe '{name}' gives a table and no ranking; call it in Python, from probes import {name}, or ask one of "
            f"{', '.join(ASKED)}."
        )
    if name not in ASKED:
        raise WorkbenchError(
            f"There is no method '{name}'{suggestion(name, list(ASKED)) or ';'} use {', '.join(ASKED)}."
        )
    return ASKED[name]


def ranker(name: str) -> Method:
    """The probe of this name that ranks; `WorkbenchError` with those that do when it answers something else."""
    if not asked(name).ranks:
        raise WorkbenchError(
            f"The probe '{name}' answers a {ASKED[name].answers} and ranks no experts; rank by one of {', '.join(RANKERS)}."
        )
    return RANKERS[name]


def table() -> list[str]:
    """The probes as lines of a Markdown table: name, question, needs, score with its range, paper."""
    heads = ("probe", "what it asks", "needs", "score", "paper")
    return [f"| {' | '.join(cells)} |" for cells in (heads, ("---",) * len(heads), *map(_cells, METHODS))]


def _cells(method: Method) -> tuple[str, ...]:
    low, high = (f"{end:g}".replace("inf", "∞") for end in method.range)
    score = method.unit.replace("|", "\\|") + (f", {low} to {high}" if method.ranks else "")
    needs = (*method.needs, *(["another store"] if method.beside else []))
    return f"`{method.name}`", method.sentence, ", ".join(needs) or "routing", score, method.paper
