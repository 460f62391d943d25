"""Tokens as a row of chips that can be clicked and reached by keyboard. Texts are set as text, never as HTML."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st
from streamlit.components.v2 import component

from .literal import token_text, visible

_HTML = '<div class="chips" role="group"></div>'
_CSS = """
.chips { font-family: var(--st-code-font, monospace); font-size: 0.9rem; line-height: 1.75;
  white-space: pre-wrap; word-break: break-word; }
.chips button, .chips span { font: inherit; color: inherit; background: transparent; border: 0; padding: 0 1px; margin: 0;
  border-radius: 3px; unicode-bidi: isolate; direction: ltr; white-space: pre-wrap; }
.chips button { cursor: pointer; }
.chips button:hover, .chips button:focus-visible { outline: 2px solid var(--st-primary-color); }
.chips .parted { text-decoration: underline 2px #D55E00; text-underline-offset: 3px; background: #D55E0033; }
.chips .chosen { outline: 2px solid var(--st-text-color); }
.chips .quiet { opacity: 0.55; }
.chips .part::before { content: "\\00b7"; opacity: 0.55; }
"""
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector('.chips');
  root.setAttribute('aria-label', data.label);
  const focused = parentElement.getRootNode().activeElement;
  const had = root.contains(focused) ? focused.dataset.i : null;
  const made = data.chips.map((chip, i) => {
    const node = document.createElement(data.clickable ? 'button' : 'span');
    node.textContent = chip.text;
    node.title = chip.tip;
    node.dataset.i = i;
    node.className = chip.kind;
    if (i === data.chosen) { node.classList.add('chosen'); node.setAttribute('aria-pressed', 'true'); }
    if (chip.colour) node.style.background = chip.colour;
    if (data.clickable) node.onclick = () => setTriggerValue('clicked', i);
    return node;
  });
  root.replaceChildren(...made);
  if (had !== null && made[had]) made[had].focus();
}
"""
render = component("workbench_chips", html=_HTML, css=_CSS, js=_JS)


class Chip(NamedTuple):
    """One token: its text, what hovering says, `kind`, and a background colour (CSS) if any.

    kind  "", "parted", "quiet", or "part": of a character that a later token completes, which is a dot and no text
    """

    text: str
    tip: str = ""
    kind: str = ""
    colour: str = ""


def chips(
    tokens: Sequence[Chip],
    key: str,
    label: str,
    chosen: int | None = None,
    on_click: Callable[[int], None] | None = None,
) -> None:
    """Draws tokens in a row; with `on_click` each is a button and the number of the clicked one is passed on."""
    shown = [c._replace(text=chip_text(c), tip=visible(c.tip))._asdict() for c in tokens]
    data: dict[str, Any] = {"chips": shown, "label": label, "chosen": chosen, "clickable": on_click is not None}

    def clicked() -> None:
        found = st.session_state[key].get("clicked")
        if on_click is not None and found is not None and 0 <= int(found) < len(tokens):
            on_click(int(found))

    render(key=key, data=data, on_clicked_change=clicked)


def chip_text(chip: Chip) -> str:
    return "" if "part" in chip.kind.split() else token_text(chip.text)
