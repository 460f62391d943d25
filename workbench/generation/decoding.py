"""What chooses each next token: the logits as the checkpoint's generation config changes them, greedily or by seeded draws.

`capture`, `compare`, streams, recipes and the demo all choose here, so that one prompt has one answer: greedily the one that
transformers' own `generate(do_sample=False)` gives to this prompt alone. Penalties, n-grams, least lengths, suppressed, forced
and biased tokens, end tokens and stop strings are the checkpoint's; its sampling defaults (temperature, top-p, top-k) are not
used. Each sequence is judged without its padding, so that its neighbours in a batch do not matter.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.model import MoEModel

SHAPING: Mapping[str, Any] = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "remove_invalid_values": False,
    "watermarking_config": None,
    "stop_strings": None,
}
"""Options of a generation config that change which token comes, and the value of each that changes nothing."""

_OTHER_WAYS = {
    "num_beams": "beam search",
    "penalty_alpha": "contrastive search",
    "dola_layers": "DoLa decoding",
    "constraints": "constrained beam search",
    "force_words_ids": "constrained beam search",
    "guidance_scale": "guidance by a second forward",
    "token_healing": "token healing",
}


class Generated(NamedTuple):
    """Generated token ids, the end-of-text token included, and the model's log-probability of each (at temperature 1,
    before the generation config changes anything).
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


class Made(NamedTuple):
    """Tokens that were generated, in order for each sequence, each array [tokens].

    row       the sequence's number in its batch
    ends      whether the sequence ends with it
    logprob   the model's own, at temperature 1, before the generation config changes anything; NaN or +inf where the logits
              were not finite
    likeliest  ids [tokens, n] and log-probabilities [tokens, n] of the likeliest tokens by the model's own logits, the likeliest
              first, where `Decoding.alternatives` asks for them
    """

    row: np.ndarray
    id: np.ndarray
    logprob: np.ndarray
    ends: np.ndarray
    likeliest: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Decoding:
    """How to generate: at most `tokens` tokens, greedily at temperature 0, until one of `stop`.

    shaping  what the generation config sets of `SHAPING`, JSON-able
    alternatives  how many of the likeliest tokens are told beside each that is chosen
    """

    tokens: int
    temperature: float = 0.0
    stop: frozenset[int] = field(default_factory=frozenset[int])
    shaping: Mapping[str, Any] = field(default_factory=dict[str, Any])
    alternatives: int = 0

    def record(self) -> dict[str, Any]:
        """What `plan.json` keeps beside the options, so that a capture goes on as it was begun."""
        return {"stop": sorted(self.stop), **self.shaping}


def decoding_of(model: "MoEModel", tokens: int, temperature: float = 0.0) -> Decoding:
    """How `model` generates by its generation config.

    Raises `WorkbenchError` when the config asks for another way than one token after the other (beams, say).
    """
    config = model.facts.generation_config
    for name, way in _OTHER_WAYS.items():
        value = getattr(config, name, None)
        if value not in (None, False, 0, 1):
            raise WorkbenchError(
                f"The generation config of {model.anatomy.model} asks for {way} ({name} = {value}), and answers are made here "
                f"one token after the other; set model.hf.generation_config.{name} = None."
            )
    given = {name: getattr(config, name, None) for name in SHAPING}
    shaping = {name: plain(value) for name, value in given.items() if value is not None and value != SHAPING[name]}
    return Decoding(tokens, temperature, stop_ids(model), shaping)


def stop_ids(model: "MoEModel") -> frozenset[int]:
    """The tokens that end a response: of the generation config, else the model's, else the tokenizer's."""
    configs = (model.facts.generation_config, model.facts.config, model.tokenizer)
    given = (getattr(config, "eos_token_id", None) for config in configs)
    found = next((ids for ids in given if ids is not None), None)
    ids = found if isinstance(found, list | tuple) else [found]
    return frozenset(int(i) for i in ids if i is not None)


def generated(made: Sequence[Made], n_rows: int) -> list[Generated]:
    """What each of a batch's sequences generated, of all that was made."""
    row, ids, logprobs = (np.concatenate([getattr(m, name) for m in made]) for name in ("row", "id", "logprob"))
    mine = [np.flatnonzero(row == number) for number in range(n_rows)]
    return [Generated(tuple(ids[at].tolist()), tuple(logprobs[at].tolist())) for at in mine]


class Choosing:
    """The state of a generating batch: what was chosen last, and who goes on."""

    def __init__(
        self, model: "MoEModel", rows: Sequence[Sequence[int]], decoding: Decoding, seeds: Sequence[int] = ()
    ) -> None:
        self.how, self.n_steps = decoding, 0
        self.stop = np.array(sorted(decoding.stop), np.int64)
        self.alive = np.ones(len(rows), bool)
        self.last = torch.zeros(len(rows), dtype=torch.long)
        self.draws = torch.stack([_draws(seed, decoding.tokens) for seed in seeds]) if decoding.temperature else None
        self.rules = [_Rules(model, row, decoding) for row in rows] if decoding.shaping else []

    def choose(self, logits: Tensor) -> Made:
        """Chooses the next token of each sequence that goes on, from logits [n, vocabulary]; `alive` says which do then."""
        logits = logits.float()
        scores = self._shaped(logits)
        chosen = scores.argmax(-1) if self.draws is None else self._drawn(scores)
        shares = logits.log_softmax(-1)
        logprob = shares.gather(-1, chosen[:, None])[:, 0]
        self.last = chosen
        ids, going = chosen.cpu().numpy(), np.flatnonzero(self.alive)
        logprobs, likeliest = logprob.cpu().numpy()[going], self._likeliest(shares, going)
        self.n_steps += 1
        self.alive = self.alive & ~self._ended(ids) & (self.n_steps < self.how.tokens)
        return Made(going, ids[going], logprobs, ~self.alive[going], likeliest)

    def _likeliest(self, shares: Tensor, going: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if not self.how.alternatives:
            return None
        best = shares.topk(min(self.how.alternatives, shares.shape[-1]))
        return best.indices.cpu().numpy()[going], best.values.cpu().numpy()[going]

    def _shaped(self, logits: Tensor) -> Tensor:
        if not self.rules:
            return logits
        scores = logits.clone()
        for row in np.flatnonzero(self.alive):
            scores[row] = self.rules[row].scores(logits[row : row + 1].clone())[0]
        return scores

    def _drawn(self, scores: Tensor) -> Tensor:
        assert self.draws is not None
        below = (scores.double() / self.how.temperature).softmax(-1).cumsum(-1)
        draw = self.draws[:, self.n_steps].to(scores.device) * below[:, -1]  # the sum is 1 only up to rounding
        return torch.searchsorted(below, draw[:, None], right=True)[:, 0].clamp(max=scores.shape[-1] - 1)

    def _ended(self, ids: np.ndarray) -> np.ndarray:
        ended = (ids[:, None] == self.stop).any(-1)
        for row in np.flatnonzero(self.alive) if self.rules else ():
            ended[row] |= self.rules[row].takes(int(ids[row]))
        return ended


class _Rules:
    """What the generation config makes of one sequence's logits, by transformers' own processors."""

    def __init__(self, model: "MoEModel", row: Sequence[int], how: Decoding) -> None:
        from transformers import GenerationConfig, StopStringCriteria

        self.ids, n = torch.tensor([list(row)], device=model.device), len(row)
        config: Any = GenerationConfig(**how.shaping, max_length=n + how.tokens, do_sample=False, num_beams=1)
        if config.min_new_tokens is not None:  # as `generate` has it: this one takes precedence
            config.min_length = n + config.min_new_tokens
        config._eos_token_tensor = torch.tensor(sorted(how.stop), device=model.device) if how.stop else None
        self.processors = model.hf._get_logits_processor(
            config, n, encoder_input_ids=self.ids, logits_processor=[], device=model.device, model_kwargs={}
        )
        stops = how.shaping.get("stop_strings")
        self.stops: Any = None if stops is None else StopStringCriteria(model.tokenizer, stops)

    def scores(self, logits: Tensor) -> Tensor:
        """The logits [1, vocabulary] as the config changes them; -inf for a token that may not come."""
        return self.processors(self.ids.to(logits.device), logits)

    def takes(self, token: int) -> bool:
        """The sequence goes on with `token`; returns whether a stop string ends it."""
        self.ids = torch.cat([self.ids, self.ids.new_tensor([[token]])], 1)
        return self.stops is not None and bool(self.stops(self.ids, None)[0])  # no stop string looks at scores


def _draws(seed: int, n: int) -> Tensor:
    """[n] uniform numbers in [0, 1), float64, from a generator of their own."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plain(value: Any) -> Any:
    """An option as JSON has it: a bias by token tuples becomes a list, as transformers takes it too."""
    if isinstance(value, dict):
        value = [[list(tokens), bias] for tokens, bias in value.items()]
    value = value.to_dict() if hasattr(value, "to_dict") else value
    return json.loads(json.dumps(value))
