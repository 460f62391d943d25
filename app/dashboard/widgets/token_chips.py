"""Tokens as running text, each of which can be clicked and reached by keyboard. Texts are set as text, never as HTML."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st
from streamlit.components.v2 import component

from .literal import token_text, visible

_HTML = '<div class="chips" role="group"></div>'
# inline, so that a line break in a token breaks the line
_CSS = """
.chips { font-family: var(--st-code-font, monospace); font-size: 0.85rem; line-height: 1.7;
  white-space: pre-wrap; word-break: break-word; tab-size: 4; }
.chips span { padding: 0 1px; border-radius: 3px; unicode-bidi: isolate; direction: ltr; }
.chips [role=button] { cursor: pointer; }
.chips [role=button]:hover, .chips [role=button]:focus-visible { outline: 2px solid var(--st-primary-color); }
.chips .parted { text-decoration: underline 2px #D55E00; text-underline-offset: 3px; background: #D55E0033; }
.chips .chosen { outline: 2px solid var(--st-text-color); }
.chips .quiet { opacity: 0.55; }
.chips .part::before { content: "\\00b7"; opacity: 0.55; }
.chips .line { padding-right: 0; }
.chips .line::before { content: "\\23ce"; opacity: 0; }
.chips .line:hover::before, .chips .line:focus::before, .chips .line.parted::before,
.chips .line.chosen::before { opacity: 0.55; }
"""
_JS = """
const SIGNS = { ' ': '\\u00b7', '\\n': '\\u23ce\\n', '\\t': '\\u21e5\\t' };
const MOST_BREAKS = 2;  // more line ends in a row are signs, or an answer of nothing else would fill the page
// the text of each chip, and whether it is blank but for line ends that break the line
function written(chips, signs) {
  let breaks = 0;
  return chips.map(({ text }) => {
    const blank = !text.trim(), ends = blank && text.includes('\\n'), many = ends && breaks >= MOST_BREAKS;
    if (!blank) breaks = 0;
    breaks += text.slice(text.trimEnd().length).split('\\n').length - 1;
    if (signs || many) return [text.replace(/[ \\n\\t]/g, c => (many && c === '\\n' ? '\\u23ce' : SIGNS[c])), false];
    return [text, ends];
  });
}
const NAMES = { ' ': '\\u2423', '\\n': '\\u23ce', '\\t': '\\u21e5' };
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector('.chips');
  root.setAttribute('aria-label', data.label);
  const focused = parentElement.getRootNode().activeElement;
  const had = root.contains(focused) ? focused.dataset.i : null;
  const texts = written(data.chips, data.signs);
  const made = data.chips.map((chip, i) => {
    const node = document.createElement('span'), [shown, ends] = texts[i];
    node.textContent = shown;
    node.title = chip.tip;
    node.dataset.i = i;
    node.className = chip.kind;
    if (ends) node.classList.add('line');
    if (i === data.chosen) { node.classList.add('chosen'); node.setAttribute('aria-pressed', 'true'); }
    if (chip.colour) node.style.background = chip.colour;
    if (data.clickable) {
      node.setAttribute('role', 'button'); node.tabIndex = 0;
      if (!chip.text.trim()) node.setAttribute('aria-label', chip.text.replace(/[ \\n\\t]/g, c => NAMES[c]));
      node.onclick = () => setTriggerValue('clicked', i);
      node.onkeydown = event => {
        if (event.key !== 'Enter' && event.key !== ' ') return;
        event.preventDefault(); setTriggerValue('clicked', i);
      };
    }
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
    """Draws tokens as text; with `on_click` each is a button and the number of the clicked one is passed on.

    Spaces and line breaks are what they are, and signs as well where the session asks for them (`signs`).
    """
    shown = [c._replace(text=chip_text(c), tip=visible(c.tip))._asdict() for c in tokens]
    data: dict[str, Any] = {"chips": shown, "label": label, "chosen": chosen, "clickable": on_click is not None}
    data["signs"] = bool(st.session_state.get("signs"))

    def clicked() -> None:
        found = st.session_state[key].get("clicked")
        if on_click is not None and found is not None and 0 <= int(found) < len(tokens):
            on_click(int(found))

    render(key=key, data=data, on_clicked_change=clicked)


def chip_text(chip: Chip) -> str:
    """What stands on the page: nothing for a part of a character, a sign for no text at all."""
    return "" if "part" in chip.kind.split() else visible(chip.text) or token_text("")
