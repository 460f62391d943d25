"""All that is known of one expert: gathered from a store and its probes, and written as Markdown or as a page.

In reading order: facts (its tokens, contexts, positions, roles, partners), asked (its rank in every probe, its label, its words,
whom it is like, who follows it), card (all of it, section by section), pages (as Markdown and HTML).
"""

from .card import Card, Section, card_of
from .pages import as_html, as_markdown

__all__ = ["Card", "Section", "as_html", "as_markdown", "card_of"]
