"""Two answers on a thread: a token each in turn, and an end for one that nobody looks at."""

import time

from workbench_app.dashboard.session import Left
from workbench_app.dashboard.steer import answering
from workbench_app.dashboard.steer.answering import Answering

from tests.app.dashboard.session.test_view import PLAN
from tests.app.world import token, view_of
from workbench import Plan, WorkbenchError


def test_both_answers_come_a_token_each_in_turn(tmp_path, monkeypatch):
    look, asked, order = view_of(tmp_path), [], []

    def stream(model, prompts, plan=None, *, max_new_tokens, dose=None):
        asked.append((model is look.machine.model, prompts.prompts[0].messages, plan, max_new_tokens, dose))

        def tokens():
            for i in range(3 if plan else 2):
                order.append((bool(plan), i))
                yield token(i)

        return tokens()

    monkeypatch.setattr(answering, "stream", stream)
    one = Answering(look.machine, "why?", PLAN, 9)
    one.started = time.monotonic()
    one.run()
    assert (one.state, one.error) == ("done", "")
    message = ({"role": "user", "content": "why?"},)
    assert asked == [(True, message, None, 9, None), (True, message, PLAN, 9, one.dose)]
    assert order == [(False, 0), (True, 0), (False, 1), (True, 1), (True, 2)]
    assert ([t.chosen.id for t in one.base], [t.chosen.id for t in one.steered]) == ([0, 1], [0, 1, 2])
    assert 0 <= one.first_token_seconds < 60
    asked.clear()
    again = one.again(Plan())
    again.started = 0.0
    again.run()
    assert (asked, again.state, len(again.base)) == ([], "done", 2)
    text = Answering(view_of(tmp_path, template=None).machine, "why?", Plan(), 9)
    monkeypatch.setattr(
        answering, "stream", lambda model, prompts, **how: (asked.append(prompts.prompts[0].text), iter(()))[1]
    )
    text.run()
    assert asked == ["why?"]


def test_an_answer_that_nobody_looks_at_or_that_is_stopped_ends(tmp_path, monkeypatch):
    look, closed = view_of(tmp_path), []

    class Tokens:
        def __next__(self):
            one.stopping = True
            return token(1)

        def close(self):
            closed.append(1)

    monkeypatch.setattr(answering, "stream", lambda *_, **__: Tokens())
    one = Answering(look.machine, "why?", PLAN, 9)
    one.started = 0.0
    one.run()
    assert (one.state, len(one.base), len(one.steered), closed) == ("stopped", 1, 0, [1, 1])
    assert one.first_token_seconds > 0
    for asker, seconds in (("a tab that was closed", 10), ("", 120)):  # "" is the session of this test, which is there
        left = Answering(look.machine, "why?", PLAN, 9, seen=time.monotonic() - seconds + 1, asker=asker)
        assert not left.has_left()
        left.seen -= 2
        assert left.has_left()
        left.look()
        assert not left.has_left()
    left.stop()
    assert left.has_left()
    for error, said in (
        (WorkbenchError("too long"), "too long"),
        (Left(), ""),
        (KeyError("x"), "The answer failed (KeyError); the server's log has the cause."),
    ):
        failing = Answering(look.machine, "why?", PLAN, 9)

        def fail(error=error):
            raise error

        failing.generate = fail
        failing.run()
        assert (failing.state, failing.error) == ("stopped" if isinstance(error, Left) else "failed", said)
        assert not failing.is_active
