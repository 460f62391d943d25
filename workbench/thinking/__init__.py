"""What of a response is thought and what is answer, for every template. No torch.

thoughts   markers such as <think> and </think>
channels   responses in channels, as gpt-oss writes them
reading    thought, answer and what is unfinished: asked here by all others
tokens     token ids as text, whole characters only
"""

from workbench.thinking.channels import CHANNEL, SHOWN
from workbench.thinking.reading import opened, opened_in, read
from workbench.thinking.thoughts import MARKERS, PAIRS
from workbench.thinking.tokens import Growing, pieces, said, special_ids, token_texts

__all__ = [
    "CHANNEL",
    "MARKERS",
    "PAIRS",
    "SHOWN",
    "Growing",
    "opened",
    "opened_in",
    "pieces",
    "read",
    "said",
    "special_ids",
    "token_texts",
]
