"""What was said, as rows of a store: prompts and given labels, and batch by batch the tokens and responses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from workbench.capturing.request import Request
from workbench.capturing.rows import BatchRows, token_rows
from workbench.generation import Generated
from workbench.prompts import Encoded, MarkedIds, response_roles
from workbench.shards import conform
from workbench.thinking import said, token_texts


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
        asked = [self._response(n, answers[i] if answers else None) for i, n in enumerate(numbers)]
        own = np.array([len(prompt.ids) for prompt, _ in asked], np.int64)
        lengths = own + np.array([len(response) for _, response in asked], np.int64)
        total, keep_text = int(lengths.sum()), self.request.options.text
        ids = np.fromiter(chain.from_iterable(chain(p.ids, r) for p, r in asked), np.int64, total)
        position = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        is_response, logprob = position >= np.repeat(own, lengths), np.full(total, np.nan, np.float32)
        if answers:
            logprob[is_response] = np.concatenate([answer.logprobs for answer in answers])
        yield token_rows(
            batch.prompt_ids,
            prompt=np.repeat(batch.prompt, lengths),
            sample=np.repeat(batch.sample, lengths),
            position=position,
            ids=ids if keep_text else None,
            texts=self._texts(ids) if keep_text else None,
            roles=np.concatenate([roles for one in asked for roles in self._roles(*one)]),
            generated=is_response if answers else np.zeros(total, bool),
            logprob=logprob,
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
        return prompt, answer.ids if answer is not None else self.request.given(number)

    def _roles(self, prompt: Encoded, response: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """[tokens] codes of the prompt, and of what follows it."""
        tokenizer, opened = self.request.model.tokenizer, prompt.ids.opened
        return prompt.roles, response_roles(tokenizer, response, self._marked, opened=opened)

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
