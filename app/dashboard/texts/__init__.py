"""The page Tokens: a text coloured by its routing, and one token's way through the layers.

In reading order: trace (the routing of one text), told_apart (a list of prompts by what differs), text_sources
(out of a store, or typed), token_colours, path, page.
"""

from .page import show

__all__ = ["show"]
