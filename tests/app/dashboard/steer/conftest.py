"""The Steer page on paper, and tokens whose text is their number."""

import pytest
from workbench_app.dashboard.steer import answering
from workbench_app.dashboard.steer.answering import Answering

from tests.app.paper import write_on
from tests.app.world import everybody_at, view_of
from workbench import Plan


@pytest.fixture
def texts(monkeypatch):
    """A token adds its id in brackets, and 9 is half a character; whether the answer ended stands at its end."""
    monkeypatch.setattr(
        answering, "pieces", lambda tokenizer, ids, ended: ["" if i == 9 else f"[{i}{'.' * ended}]" for i in ids]
    )


@pytest.fixture
def page(tmp_path, store, monkeypatch):
    """A view of the store, the paper of its page, and what was started instead of a thread."""
    started = []
    monkeypatch.setattr(Answering, "start", lambda self: (started.append(self), self)[1])
    paper = write_on(monkeypatch, plan=Plan())
    return view_of(tmp_path, store), paper, started


@pytest.fixture
def everybody(tmp_path):
    """A view of a model that selects every expert for every token, and its store."""
    store = everybody_at(tmp_path / "stores" / "everybody")
    view = view_of(tmp_path, store)
    view.machine.model.anatomy = store.anatomy
    return view, store
