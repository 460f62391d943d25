"""One question, answered with and without a plan on a thread of its own, so that the page goes on living meanwhile.

Plans never cross sessions: an answer carries its plan, and the library keeps it to the thread that generates. An answer that
no page looks at any more stops by itself and frees the model.
"""

import logging
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Literal

from workbench import Plan, PromptSet, WorkbenchError
from workbench.answering import StreamedToken, decode, encode_all, stream
from workbench.prompts import Prompt
from workbench.routing import Dose
from workbench.thinking import pieces

from ..session import Left, Machine, is_there, session

ABANDONED_SECONDS = 10.0
"""A page that shows an answer asks for it several times a second; after this long, and its tab closed, nobody is there."""
FORGOTTEN_SECONDS = 120.0
"""After this long an open tab shows something else; not sooner, for on a busy machine a page asks late."""

_NUMBERS = count()

State = Literal["waiting", "running", "done", "stopped", "failed"]


@dataclass(eq=False)
class Answering:
    """A question, its plan, and both answers as far as they are. Written by one thread, read by the page's.

    `number` names the question on its page; the same question under another plan keeps it.
    """

    machine: Machine
    question: str
    plan: Plan
    limit: int
    base: list[StreamedToken] = field(default_factory=list[StreamedToken])
    steered: list[StreamedToken] = field(default_factory=list[StreamedToken])
    base_is_known: bool = False
    dose: Dose = field(default_factory=Dose)
    state: State = "waiting"
    error: str = ""
    seen: float = field(default_factory=time.monotonic)
    stopping: bool = False
    first_token_seconds: float | None = None
    number: int = field(default_factory=partial(next, _NUMBERS))
    asker: str = field(default_factory=session)

    def start(self) -> "Answering":
        """Begins, or queues for, the answer."""
        self.started = time.monotonic()
        threading.Thread(target=self.run, daemon=True, name="answer").start()
        return self

    @property
    def is_active(self) -> bool:
        """Whether more will come."""
        return self.state in ("waiting", "running")

    @property
    def place(self) -> int | None:
        """How many are before this one in the queue; 0 while it runs."""
        return self.machine.turns.place(self)

    def look(self) -> None:
        """A page shows this answer: it is wanted."""
        self.seen = time.monotonic()

    def stop(self) -> None:
        """Stops at the next token; what is there stays."""
        self.stopping = True

    def text(self, side: Literal["base", "steered"]) -> str:
        """The answer so far, as the library's `compare` would give it."""
        model = self.machine.model
        prompt = encode_all(model, self._asked, 0)[0]
        return decode(model, [t.chosen.id for t in self.tokens(side)], after=prompt)

    @property
    def _asked(self) -> PromptSet:
        return asked_once(self.question, as_chat=has_template(self.machine.model.tokenizer))

    def pieces(self, side: Literal["base", "steered"]) -> list[str]:
        """What each of `tokens` adds to the answer: "" within a character of several tokens, which the last one shows."""
        ids = [t.chosen.id for t in self.tokens(side)]
        return pieces(self.machine.model.tokenizer, ids, ended=not self.is_active)

    def tokens(self, side: Literal["base", "steered"]) -> list[StreamedToken]:
        """The tokens so far, without the one that ends the answer."""
        return [t for t in list(self.base if side == "base" else self.steered) if not t.is_end]

    def again(self, plan: Plan) -> "Answering":
        """The same question under another plan; the base answer is known already."""
        known = self.base_is_known or self.state == "done"
        base = list(self.base) if known else []
        return Answering(self.machine, self.question, plan, self.limit, base, base_is_known=known, number=self.number)

    def has_left(self) -> bool:
        unseen = time.monotonic() - self.seen
        gone = unseen > ABANDONED_SECONDS and not is_there(self.asker)
        return self.stopping or gone or unseen > FORGOTTEN_SECONDS

    def run(self) -> None:
        try:
            with self.machine.turns.turn(self, self.has_left):
                self.state = "running"
                self.state = "stopped" if self.generate() else "done"
        except Left:
            self.state = "stopped"
        except WorkbenchError as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:
            logging.getLogger("workbench").exception("an answer failed")
            self.error = f"The answer failed ({type(error).__name__}); the server's log has the cause."
            self.state = "failed"

    def generate(self) -> bool:
        """Both answers in turns, a token each; returns whether it was stopped."""
        sides = self._sides()
        try:
            while sides:
                for found, tokens in list(sides):
                    if self.has_left():
                        return True
                    token = next(tokens, None)
                    if token is None:
                        sides.remove((found, tokens))
                        continue
                    found.append(token)
                    if self.first_token_seconds is None:
                        self.first_token_seconds = time.monotonic() - self.started
            return False
        finally:
            for _, tokens in sides:
                tokens.close()  # pyright: ignore[reportAttributeAccessIssue]

    def _sides(self) -> list[tuple[list[StreamedToken], Generator[StreamedToken, None, None]]]:
        model, asked = self.machine.model, self._asked
        sides = [] if self.base_is_known else [(self.base, stream(model, asked, max_new_tokens=self.limit))]
        if self.plan:
            steered = stream(model, asked, self.plan, max_new_tokens=self.limit, dose=self.dose)
            sides.append((self.steered, steered))
        return sides


def asked_once(question: str, *, as_chat: bool = True) -> PromptSet:
    """A question as the only message of a chat, or as a text that the model goes on with."""
    if not as_chat:
        return PromptSet((Prompt("question", text=question),))
    return PromptSet((Prompt("question", messages=({"role": "user", "content": question},)),))


def has_template(tokenizer: object) -> bool:
    """Whether questions can go through a chat template."""
    return bool(getattr(tokenizer, "chat_template", None))
