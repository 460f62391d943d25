"""Entries of the catalogue: how experts belong together."""

from math import inf

from probes.method import Method

STRUCTURE = (
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
