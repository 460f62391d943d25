"""The page Steer: switch experts, ask, and read both answers side by side.

In reading order: edits (clicks become a plan), quick_picks (colours, what a click does, the first experts), plan_line,
requests (the plan for a server), switchboard (the board of experts), examples, answering (both answers on a thread),
answers_panel (how they come), token_card (one token), page.
"""

from .page import show

__all__ = ["show"]
