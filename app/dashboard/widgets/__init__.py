"""What pages are drawn with: text that is never read as markup, charts of one look, tokens, the board of experts, rankings.

In reading order: literal (text as it is), theme (charts), token_chips (a text as a row of tokens), expert_board (layers by
experts, with board.js), ranking_table (a ranking with filters and downloads), answer_table (any other answer).
"""

from .answer_table import answer_table
from .expert_board import GLYPHS, Board, board
from .literal import escaped, sentence, token_text, visible
from .ranking_table import named, ranked_table
from .theme import (
    BASE,
    DIVERGING,
    MARK,
    QUIET,
    SEQUENTIAL,
    SERIES,
    STEERED,
    chart,
    points,
    ramp,
    selected,
    text,
    titled,
)  # fmt: skip
from .token_chips import Chip, chips

__all__ = [
    "BASE", "DIVERGING", "GLYPHS", "MARK", "QUIET", "SEQUENTIAL", "SERIES", "STEERED", "Board", "Chip", "answer_table",
    "board",
    "chart", "chips", "escaped", "named", "points", "ramp", "ranked_table", "selected", "sentence", "text", "titled",
    "token_text", "visible",
]  # fmt: skip
