"""The switchboard: every expert of every layer with its colour and its edit; whatever is picked is switched."""

from collections.abc import Callable

from workbench import ExpertRef, Plan
from workbench.anatomy import Anatomy

from ..questions import Colouring
from ..widgets import Board, board


def switchboard(
    anatomy: Anatomy,
    plan: Plan,
    colours: Colouring,
    title: str,
    on_pick: Callable[[list[ExpertRef]], None],
    share: float,
) -> None:
    """Draws the board, `share` of the window high at most; `on_pick` gets the experts of a click, a box or a key, once."""
    rows = {
        n: [colours.values.get(ExpertRef(n, e)) for e in range(anatomy.layer(n).n_experts)] for n in anatomy.moe_layers
    }
    drawn = Board(title, rows, colours.unit, colours.palette, middle=colours.middle, share=share)
    board(drawn, plan, "switchboard", on_pick)
