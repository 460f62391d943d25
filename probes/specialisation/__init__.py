"""What experts are for: how much routing follows the words that are read, or the domain that a text is of.

information.py           what a token's id, or its position, tells of its experts, in bits
token_specialisation.py  that by layer and role, over chance, and how well the id alone predicts selection
domains.py               domains of a label, and how often each selects an expert
domain_specialisation.py how unevenly domains use an expert
covering.py              the smallest set that holds a share of several wholes
experts_needed.py        how many experts a word needs
decoded.py               the words that experts and neurons read and write
labels.py                words that tell where an expert is selected, and how well elsewhere
describer.py             a language model that describes, asked twice an expert
described.py             a label for every expert, with how well it does on held-out prompts
standing_committee.py    the smallest set of experts that carries most routing in every domain
"""

from probes.specialisation.decoded import decode
from probes.specialisation.described import describe
from probes.specialisation.domain_specialisation import domain_specialisation
from probes.specialisation.experts_needed import difficulty
from probes.specialisation.standing_committee import committee
from probes.specialisation.token_specialisation import token_specialisation

__all__ = ["committee", "decode", "describe", "difficulty", "domain_specialisation", "token_specialisation"]
