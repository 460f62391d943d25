"""What was said, as rows of a store: prompts and given labels, and batch by batch the tokens and responses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from workbench.capturing.request import Request
from workbench.capturing.rows import BatchRows, token_rows
from workbench.generation import Generated
from workbench.prompts import Encoded, MarkedIds, response_roles
from workbench.shards import conform
from workbench.thinking import said, token_texts


class _Sequence(NamedTuple):
    """One sequence's tokens, each array [tokens]."""

    ids: np.ndarray
    roles: np.ndarray
    generated: np.ndarray
    logprob: np.ndarray


@dataclass
class Words:
    """The tables of a request that its forwards tell nothing of. Without `options.text` they hold no words."""

    request: Request

    @property
    def has_responses(self) -> bool:
        """Whether there is a text of responses to keep."""
        options = self.request.options
        return options.text and bool(options.generate or options.responses)

    def prompts(self) -> list[dict[str, Any]]:
        """Rows of the prompts table."""
        return [
            {
                "prompt_id": prompt.id,
                "text": tokens.text if self.request.options.text else None,
                "pair": prompt.pair,
                "split": prompt.split,
                "cluster": prompt.cluster,
                "n_tokens": len(tokens.ids),
            }
            for prompt, tokens in zip(self.request.prompts, self.request.encoded, strict=True)
        ]

    def labels(self) -> list[dict[str, Any]]:
        """Rows of the labels table: those that the prompts were given with."""
        return [
            {"prompt_id": prompt.id, "name": name, "value": value, "source": "given"}
            for prompt in self.request.prompts
            for name, value in prompt.labels.items()
            if self.request.options.text
            or not any(map(str.isspace, value))  # words in a row are text, whatever their key
        ]

    def tokens(
        self, numbers: Sequence[int], batch: BatchRows, answers: list[Generated] | None
    ) -> Iterator[pa.RecordBatch]:
        """The tokens table of a batch: sequences by number, and what was generated for each."""
        parts = [self._sequence(n, answers[i] if answers else None) for i, n in enumerate(numbers)]
        lengths = [len(part.ids) for part in parts]
        ids = np.concatenate([part.ids for part in parts])
        yield token_rows(
            batch.prompt_ids,
            prompt=np.repeat(batch.prompt, lengths),
            sample=np.repeat(batch.sample, lengths),
            position=np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths),
            ids=ids if self.request.options.text else None,
            texts=self._texts(ids) if self.request.options.text else None,
            roles=np.concatenate([part.roles for part in parts]),
            generated=np.concatenate([part.generated for part in parts]),
            logprob=np.concatenate([part.logprob for part in parts]),
        )

    def responses(
        self, numbers: Sequence[int], batch: BatchRows, answers: list[Generated] | None
    ) -> Iterator[pa.RecordBatch]:
        """The responses table of a batch."""
        tokenizer = self.request.model.tokenizer
        asked = [self._response(n, answers[i] if answers else None) for i, n in enumerate(numbers)]
        texts = said(tokenizer, [response for _, response in asked], [prompt.ids.opened for prompt, _ in asked])
        codes = pa.array(batch.prompt.astype(np.int32))
        prompts = pa.DictionaryArray.from_arrays(codes, batch.prompt_ids)
        columns = {"prompt_id": prompts, "sample": batch.sample.astype(np.int32), "text": texts}
        yield conform("responses", columns, len(texts))

    def _response(self, number: int, answer: Generated | None) -> tuple[Encoded, tuple[int, ...]]:
        """A sequence's prompt, and the ids that follow it."""
        prompt = self.request.encoded[self.request.sequence(number)[0]]
        return prompt, answer.ids if answer is not None else self.request.ids(number)[len(prompt.ids) :]

    def _sequence(self, number: int, answer: Generated | None) -> _Sequence:
        prompt, response = self._response(number, answer)
        tokenizer, opened = self.request.model.tokenizer, prompt.ids.opened
        roles = np.concatenate([prompt.roles, response_roles(tokenizer, response, self._marked, opened=opened)])
        logprob = np.full(len(prompt.ids) + len(response), np.nan, np.float32)
        if answer is not None:
            logprob[len(prompt.ids) :] = answer.logprobs
        generated = np.arange(len(logprob)) >= len(prompt.ids) if answer is not None else np.zeros(len(logprob), bool)
        ids = np.array([*prompt.ids, *response], np.int64)
        return _Sequence(ids, roles, generated, logprob)

    def _texts(self, ids: np.ndarray) -> pa.StringArray:
        unique, inverse = np.unique(ids, return_inverse=True)
        new = [number for number in unique.tolist() if number not in self._said]
        self._said.update(zip(new, token_texts(self.request.model.tokenizer, np.array(new, np.int64)), strict=True))
        return pa.array([self._said[number] for number in unique.tolist()], pa.string()).take(pa.array(inverse))

    @cached_property
    def _said(self) -> dict[int, str]:
        """Texts of the tokens that came so far."""
        return {}

    @cached_property
    def _marked(self) -> MarkedIds:
        return MarkedIds(self.request.model.tokenizer, self.request.model.image_token)
