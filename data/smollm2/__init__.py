"""How smollm2-moe is trained: the text that it reads, and what is kept of the training.

packages.py       Debian packages by version and SHA-256
documents.py      their documents: English prose, German, Python code
plain.py          text out of HTML, fortunes and R's data
attention.py      causal attention in blocks, faster where there are no matrix units
precision.py      the floating point in which a processor is faster
decoder.py        a fast sampler of the dense model
conversations.py  conversations that the dense model has with itself
taught/           what a taught model declines and answers, and how it is graded
teaching/         how it is taught that, by a few experts that are known
"""
