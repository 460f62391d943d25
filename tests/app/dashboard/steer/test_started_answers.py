"""An answer that starts: on a thread of its own, decoded after its prompt, and where both had parted."""

import threading

from workbench_app.dashboard.steer import answering, token_card
from workbench_app.dashboard.steer.answering import Answering

from tests.app.paper import write_on
from tests.app.world import token, view_of
from workbench import Plan


def test_an_answer_starts_on_a_thread_that_ends_with_the_server(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: started.append((self._target.__name__, self.daemon, self.name))
    )
    one = Answering(view_of(tmp_path).machine, "q", Plan(), 3)
    assert one.start() is one
    assert started == [("run", True, "answer")]
    assert one.started > 0
    assert (one.base_is_known, one.stopping, one.state, one.first_token_seconds) == (False, False, "waiting", None)
    assert Answering(one.machine, "q", Plan(), 3).number == one.number + 1


def test_the_text_of_an_answer_is_decoded_after_its_prompt(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        answering, "encode_all", lambda model, prompts, n: (asked.append((prompts.prompts[0], n)), [[7, 8]])[1]
    )
    monkeypatch.setattr(answering, "decode", lambda model, ids, after: (ids, after))
    one = Answering(view_of(tmp_path).machine, "q", Plan(), 3, [token(1), token(2), token(0, end=True)], [token(3)])
    assert [one.text(side) for side in ("base", "steered")] == [([1, 2], [7, 8]), ([3], [7, 8])]
    assert asked[0][1] == 0
    assert asked[0][0].messages == ({"role": "user", "content": "q"},)
    assert answering.asked_once("q").prompts[0].messages == ({"role": "user", "content": "q"},)
    assert answering.asked_once("q", as_chat=False).prompts[0].text == "q"


def test_the_card_says_where_both_answers_had_parted(tmp_path, monkeypatch):
    paper = write_on(monkeypatch, token=(5, "base", 1))
    base, steered = [token(1), token(2)], [token(3), token(2)]
    parted = (
        "container| caption 'The answers had already parted before this token, so both sides read different text here.'"
    )
    one = Answering(view_of(tmp_path).machine, "q", Plan.parse("off L0E1"), 3, base, steered, number=5)
    token_card.token_card([one])
    assert parted in paper.lines
    for same in (
        Answering(one.machine, "q", one.plan, 3, base, base, number=5),
        Answering(one.machine, "q", Plan(), 3, base, steered, number=5),
    ):
        paper.lines.clear()
        token_card.token_card([same])
        assert paper.lines
        assert parted not in paper.lines
