"""A factorized model taught to say what its dense model says: routers, low-rank updates and norms, by the dense model's words.

student.py   the dense model with its MLPs routed in groups, and what is trained of it
teaching.py  the divergence from the dense model's distributions, and its gradient
texts.py     what is read: the documents of a file, or the dense model's own words
rows.py      the text that both read, in rows, and what is held out of it
steps.py     one step of training, and the loss that it saw
curve.py     what the student loses against the dense model on the rows held out
additions.py what was learnt, by the dense model's own names: `additions`, and a student that goes on from it: `put_back`
together.py  several processes that train one student: `joined`
training.py  the whole training, resumable: `distil`
"""

from .additions import additions, found_in, merge, put_back, updates
from .curve import Loss, by_row, losses
from .rows import Document, Order, Rows, is_held_out, rows_of
from .steps import Recipe
from .student import Student, student_of
from .teaching import lesson
from .texts import own_words, read_documents
from .together import first, joined
from .training import distil, take_up

__all__ = [
    "Document", "Loss", "Order", "Recipe", "Rows", "Student", "additions", "by_row", "distil", "first", "found_in",
    "is_held_out", "joined", "lesson", "losses", "merge", "own_words", "put_back", "read_documents", "rows_of", "student_of",
    "take_up", "updates",
]  # fmt: skip
