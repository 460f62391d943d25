"""The page Atlas: every expert by load, entropy or score, and the card of one of them.

In reading order: expert_charts and entropy_chart (drawn; the facts are those of app/experts), card_text (its
tokens and contexts), card, page.
"""

from .page import show

__all__ = ["show"]
