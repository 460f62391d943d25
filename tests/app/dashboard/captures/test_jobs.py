"""Captures at work: what the library is given, how each ends, who may stop one, and how many are listed."""

import threading
from types import SimpleNamespace

import pytest
from workbench_app.dashboard.captures import jobs, jobs_panel
from workbench_app.dashboard.captures.jobs import Job, Jobs, Wanted
from workbench_app.dashboard.session import Left

from tests.app.dashboard.captures.made import PROMPTS, job
from tests.app.dashboard.session.test_view import PLAN
from tests.app.paper import assert_drawn, drawn, write_on
from tests.app.world import view_of
from workbench import WorkbenchError
from workbench.capturing import Options
from workbench.progress import Progress


def test_captures_at_work_say_how_far_they_are_and_who_may_stop_them(tmp_path, listed, monkeypatch):
    paper, look = write_on(monkeypatch), view_of(tmp_path)
    monkeypatch.setattr(jobs_panel, "session", lambda: "me")
    monkeypatch.setattr(jobs_panel, "is_there", lambda one: one in ("me", "other"))
    waits = job(look, "stores/*waits*", owner="me", progress=Progress(50, 200, 10.0))
    stops = job(look, "stores/stops", "running", "me", progress=Progress(30, 20, 1.0))
    stops.stopping.set()
    look.machine.turns.queue[:] = [stops, object(), waits]
    listed.listed = [
        waits, stops, job(look, "stores/theirs", "running", "other", progress=Progress(0, 0, 0.0, "Loading")),
        job(look, "stores/left", "running", "gone"), job(look, "stores/x", "done", "me", said="2 prompts."),
        job(look, "stores/y", "stopped", "me", said="Stopped."), job(look, "stores/z", "failed", "me", said="no *room*"),
        job(look, "stores/not mine", "done", "other"),
    ]  # fmt: skip
    jobs_panel.jobs_panel()
    paper.lines.append("---- ended ones alone, and a look after one has ended")
    listed.listed = listed.listed[4:5]
    jobs_panel.jobs_panel()
    jobs_panel.draw_jobs(frozenset({1}))
    paper.lines.append("---- nothing")
    listed.listed = []
    jobs_panel.jobs_panel()
    assert_drawn("jobs", drawn(paper))


def test_a_capture_gives_the_library_what_was_wanted_and_ends_in_a_state(tmp_path, monkeypatch):
    look, given = view_of(tmp_path), []
    made = SimpleNamespace(n_prompts=1234, manifest={"rows": {"tokens": 5678}})

    def capture(model, prompts, path, options, *, plan, progress):
        given.append(
            (model is look.machine.model, prompts, path, plan, options, one.state, look.machine.turns.place(one))
        )
        progress(Progress(1, 2, 3.0, "a message"))
        assert one.progress is None
        progress(Progress(1, 2, 3.0))
        if isinstance(made, Exception):
            raise made
        return made

    monkeypatch.setattr(jobs, "capture_with", capture)
    one = job(look)
    one.run()
    assert given == [(True, PROMPTS, tmp_path / "stores/a", None, Options(), "running", 0)]
    assert (one.state, one.said, one.progress) == ("done", "1,234 prompts, 5,678 tokens.", Progress(1, 2, 3.0))
    assert look.machine.turns.waiting == 0
    made.manifest = {"rows": {}}
    one = Job("n", tmp_path, "", look.machine, Wanted(PROMPTS, PLAN, Options(generate=3)))
    one.run()
    assert (given[1][3:5], one.said) == ((PLAN, Options(generate=3)), "1,234 prompts, 0 tokens.")
    for made, said in (
        (WorkbenchError("no room"), "no room"),
        (Left(), "Stopped; what is complete is kept, and Resume goes on from there."),
        (OSError("x"), "It failed (OSError); the server's log has the cause."),
    ):
        one = job(look)
        one.run()
        assert (one.state, one.said) == ("stopped" if isinstance(made, Left) else "failed", said)
    one = job(look)
    one.stopping.set()
    one.run()
    assert one.state == "stopped"


def test_a_capture_hands_the_model_on_where_somebody_waits(tmp_path):
    one, closed = job(view_of(tmp_path)), []
    turn, taken = SimpleNamespace(close=lambda: closed.append(1)), []
    one.take_turn = lambda t: taken.append(t)
    one.machine.turns.queue[:] = [one]
    one.report(turn, Progress(1, 2, 3.0))
    assert (closed, taken) == ([], [])
    one.machine.turns.queue.append(object())
    one.report(turn, Progress(1, 2, 3.0))
    assert (closed, taken) == ([1], [turn])


def test_a_list_of_captures_holds_fifty_and_one_a_store(tmp_path, monkeypatch):
    look, started = view_of(tmp_path), []
    monkeypatch.setattr(threading.Thread, "start", lambda self: started.append((self.name, self.daemon)))
    found = Jobs()
    made = [job(look, f"stores/{i}", "done") for i in range(51)]
    for one in made:
        found.start(one)
    assert found.all() == made[:0:-1]
    assert started[0] == ("capture stores/0", True)
    again = job(look, "stores/3", "running")
    found.start(again)
    assert [found.all()[0], made[3] in found.all(), len(found.all())] == [again, False, 50]
    with pytest.raises(WorkbenchError, match="'stores/3' is being captured now; wait for it, or choose another name"):
        found.start(job(look, "stores/3"))
    assert [found.active_on(look.catalog.project / "stores" / n) for n in ("3", "4")] == [True, False]
    found.forget(again)
    found.forget(made[4])
    assert again in found.all()
    assert made[4] not in found.all()
    assert len(found.all()) == 49
