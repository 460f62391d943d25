"""Answers of a model to prompts, under a plan or none.

answers     many prompts, batched
streaming   one prompt, token by token
"""

from workbench.answering.answers import Answers, answer, decode, encode_all, padded_batch
from workbench.answering.streaming import StreamedToken, stream

__all__ = ["Answers", "StreamedToken", "answer", "decode", "encode_all", "padded_batch", "stream"]
