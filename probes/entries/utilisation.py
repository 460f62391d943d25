"""Entries of the catalogue: how much experts are used, what they write, and how tokens travel among them."""

from math import inf

from probes.method import Method, Reading

UTILISATION = (
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
        words={
            "windows": "Windows, in tokens",
            "caches": "Caches, in multiples of top-k",
            "longest": "Longest stretch, in tokens",
        },
    ),
    Method(
        "capacity",
        "traffic.capacity:capacity",
        title="Capacity",
        sentence="what experts that serve so many tokens would drop, and where in a text",
        score="dropped",
        unit="share of selections",
        range=(0, 1),
        paper="OpenMoE, arXiv 2402.01739",
        answers="LayerTable",
        words={
            "factors": "Capacity factors",
            "parts": "Stretches of positions",
            "together": "Responses that share the places",
        },
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
)
