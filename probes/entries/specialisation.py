"""Entries of the catalogue: what experts are for."""

from math import inf

from probes.method import Method, Reading

SPECIALISATION = (
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
        "domain_specialisation",
        "specialisation.domain_specialisation:domain_specialisation",
        title="Domain specialisation",
        sentence="is used unevenly by the values of a label: domains, languages, topics",
        score="spread over domains",
        unit="standard deviation over mean of its rates",
        range=(0, inf),
        needs=("labels",),
        paper="moe-lrc, arXiv 2505.16056",
        readings=(Reading("bits over domains", {"measure": "bits"}, "bits below even use"),),
        words={"domains": "Label whose values are the domains", "beyond": "Beyond what this word predicts"},
    ),
    Method(
        "committee",
        "specialisation.standing_committee:committee",
        title="Committee",
        sentence="the smallest set of each layer that carries most routing in every domain",
        score="share",
        unit="share of the layer's routing weights",
        range=(0, 1),
        needs=("labels",),
        answers="SetTable",
        paper="COMMITTEEAUDIT, arXiv 2601.03425",
        words={
            "domains": "Label whose values are the domains",
            "p": "p: the share that the set carries in every domain",
            "seconds": "Seconds at most for a layer",
        },
    ),
    Method(
        "difficulty",
        "specialisation.experts_needed:difficulty",
        title="Difficulty",
        sentence="how many experts a word needs, by how its router divides the weight",
        score="experts needed",
        unit="experts a token and layer",
        range=(0, inf),
        answers="TokenTable",
        paper="Dynamic MoE, arXiv 2403.07652",
        words={
            "of": "Weights received, or the softmax of the logits",
            "p": "p: the cumulative weight to exceed",
            "least": "Of ids that occur so often",
        },
    ),
)
