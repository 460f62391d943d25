"""Answers of a model to prompts, under a plan or none.

answers.py     many prompts, batched
streaming.py   one prompt, token by token
"""

from workbench.answering.answers import Answers, answer, answer_each, decode, encode_all
from workbench.answering.streaming import StreamedToken, stream

__all__ = ["Answers", "StreamedToken", "answer", "answer_each", "decode", "encode_all", "stream"]
