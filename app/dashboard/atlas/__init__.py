"""The page Atlas: every expert by load, entropy or score, and the card of one of them.

In reading order: expert_facts (what a store says of an expert), expert_charts and entropy_chart (drawn), card_text (its
tokens and contexts), card, page.
"""

from .page import show

__all__ = ["show"]
