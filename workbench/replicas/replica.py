"""One process with a model of its own: it takes shards of a store that nobody holds, until all are written."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from workbench.anatomy import parse_experts
from workbench.progress import Report


class Work(NamedTuple):
    """What all replicas are asked alike.

    source, how  of `load`; prompts, into, words  of `capture`, where experts may be text that needs the model to be read
    """

    source: str
    how: Mapping[str, Any]
    prompts: Any
    into: str
    words: Mapping[str, Any]


class Capturing:
    """A replica's part of a capture."""

    def __init__(self, given: Work, rank: int, world: int, tell: Report) -> None:
        self.given, self.place, self.tell = given, (rank, world), tell

    def work(self) -> None:
        """Loads the model and captures beside the others. Raises `WorkbenchError` as `capture` does."""
        from workbench.capturing import capture  # in the replica's process: the one that asks needs no torch
        from workbench.loading import load

        given, words = self.given, dict(self.given.words)
        model = load(given.source, **given.how)
        if isinstance(words.get("experts"), str):
            words["experts"] = parse_experts(words["experts"], model.anatomy)
        capture(model, given.prompts, given.into, shard=self.place, progress=self.tell, **words)
