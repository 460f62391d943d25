"""A page Steer of a model that exists in outline alone, run by Streamlit: `outlined_model.py LAYERSxEXPERTS`.

A question has been answered already, twice, by tokens that were drawn at random.
"""

import random
import sys
from pathlib import Path
from types import SimpleNamespace

import streamlit as st
from workbench_app.dashboard import steer
from workbench_app.dashboard.navigation import STYLE
from workbench_app.dashboard.session import Catalog, Machine, View
from workbench_app.dashboard.steer.answering import Answering

from workbench import Plan
from workbench.anatomy import Anatomy, LayerAnatomy
from workbench.answering import StreamedToken
from workbench.answering.streaming import Candidate

TOP_K, TOKENS = 8, 64
BREAKS = (10, *range(20, 26))
"""Places of line breaks in an answer: one alone, and six in a row."""
WORDS = (" the", " fox", " was", " red", ",", " and", "\n")


class Words:
    """A tokenizer of a few words, with a template."""

    chat_template = "{{ x }}"

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [WORDS[i] for i in ids]

    def decode(self, ids: list[int], **_: object) -> str:
        return "".join(WORDS[i] for i in ids)


@st.cache_resource
def machine(layers: int, experts: int) -> Machine:
    shape = tuple(LayerAnatomy(n, experts, TOP_K) for n in range(layers))
    anatomy = Anatomy("outline", "qwen3_moe", 8, 9, "weights", shape)
    return Machine(SimpleNamespace(anatomy=anatomy, tokenizer=Words()))  # pyright: ignore[reportArgumentType]


def answer(anatomy: Anatomy, seed: int) -> list[StreamedToken]:
    drawn = random.Random(seed)

    def token(place: int) -> StreamedToken:
        i = len(WORDS) - 1 if place in BREAKS else drawn.randrange(len(WORDS) - 1)
        chosen = Candidate(i, WORDS[i], 0.5)
        routing = {
            n: tuple((e, 0.1) for e in drawn.sample(range(anatomy.layer(n).n_experts), TOP_K))
            for n in anatomy.moe_layers
        }
        return StreamedToken(chosen, (chosen,), routing, False, WORDS[i])

    return [token(place) for place in range(TOKENS)]


def main() -> None:
    """Draws the page."""
    layers, experts = map(int, sys.argv[1].split("x"))
    st.set_page_config(page_title="Outline", layout="wide")
    st.html(STYLE)
    look = View(Catalog({"outline": "outline"}, {}, Path.cwd()), "outline", machine(layers, experts), None, None)
    if "plan" not in st.session_state:
        plan = Plan.parse("off L3E4; off L3E5")
        st.session_state.update(view={}, past=[], plan=plan, answered_plan=plan)
        made = Answering(
            look.machine, "Tell me about a fox.", plan, TOKENS, answer(look.anatomy, 0), answer(look.anatomy, 1)
        )
        made.state = "done"
        st.session_state.asked = [made]
    with st.sidebar:
        st.text("outline")
    steer.show(look)


main()
