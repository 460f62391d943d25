"""A card as Markdown, or as one page of HTML; text from a model is never markup."""

import re

from ..reports import template
from ..terminal import plain
from .card import Card, Section

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")


def as_markdown(card: Card) -> str:
    """The card as a Markdown file."""
    head = f"# {_literal(str(card.ref))} of {_literal(card.model or 'a model')}\n\nStore: {_literal(card.store)}. {card.note}"
    return "\n\n".join([head, *map(_section, card.sections)]) + "\n"


def as_html(card: Card) -> str:
    """The card as a page that needs nothing else."""
    return template("expert.html").render(card=card)


def _section(section: Section) -> str:
    parts = [f"## {section.title}", *map(_literal, section.lines)]
    if section.rows:
        rows = [section.heads, ("---",) * len(section.heads), *(tuple(map(_literal, row)) for row in section.rows)]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts)


def _literal(text: str) -> str:
    return _MARKUP.sub(r"\\\1", plain(text).replace("\n", "⏎").replace("\t", "⇥"))
