"""What experts are for: how much routing follows the words that are read.

information.py           what a token's id, or its position, tells of its experts, in bits
token_specialisation.py  that by layer and role, over chance, and how well the id alone predicts selection
"""

from probes.specialisation.token_specialisation import token_specialisation

__all__ = ["token_specialisation"]
