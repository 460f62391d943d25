"""What of a response is thought, what is answer and what is unfinished, for every template: asked here by all others.

    read("<think>4 + 5</think>9").answer      # "9"
    read("<think>4 + 5").answer               # None: unfinished
    opened("<|assistant|><think>")            # "<think>": the template opened the thought with which the response goes on

From the characters alone; no tokenizer, no torch.
"""

import re
from functools import lru_cache

from workbench.thinking.channels import ANALYSIS, by_channel, in_channels
from workbench.thinking.thoughts import Reading, by_pairs, last_open

_TURN = re.compile(
    r"<[|\uff5c][^<>]*[|\uff5c]>|\[/?INST\]|<(?:start|end)_of_turn>|<\|turn>|<turn\|>|</?s>|"
    r"^\W{0,4}(?:user|human|assistant|system)\b\W{0,2}[:\]]",
    re.IGNORECASE | re.MULTILINE,
)
"""How prompts mark turns: what stands before one is not what the response goes on with."""


def read(text: str) -> Reading:
    """A response taken apart, by channels where it is written in channels, else by the markers of thoughts."""
    return _read(str(text))


@lru_cache(maxsize=64)  # every metric of a response asks again
def _read(text: str) -> Reading:
    return by_channel(text) if in_channels(text) else by_pairs(text)


def opened(words: str) -> str:
    """The marker of the thought that the last words before a response leave open; "" for none."""
    if in_channels(words):
        return by_channel(words).open
    found = last_open(words)
    return "" if found is None else found[0]


def opened_in(prompt: str) -> str:
    """The same of a whole prompt whose authors are unknown: an opening counts at the prompt's end, or where a turn begins.

    One within a sentence, or before another turn, is only mentioned.
    """
    if in_channels(prompt):
        return ANALYSIS if opened(prompt) else ""
    found = last_open(prompt)
    if found is None:
        return ""
    marker, start, stop = found
    before, after = prompt[:start].rstrip(" "), prompt[stop:]
    begins = before[-1:] in ("", "\n", ">", "]", ":")
    return marker if not after.strip() or (begins and not _TURN.search(after)) else ""
