"""How a token is chosen, by hand: the config's rules, greedy steps, and draws that invert the distribution."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.refusals import refused
from workbench.generation import SHAPING, Choosing, Decoding, decoding_of, generated
from workbench.generation.decoding import plain, stop_ids


class TestDecoding:
    def model(self, **generation: Any) -> Any:
        facts = SimpleNamespace(generation_config=SimpleNamespace(**generation), config=SimpleNamespace(eos_token_id=4))
        return SimpleNamespace(
            facts=facts, tokenizer=SimpleNamespace(eos_token_id=9), anatomy=SimpleNamespace(model="m")
        )

    def test_of_a_config(self) -> None:
        found = decoding_of(
            self.model(eos_token_id=[3, 5], repetition_penalty=1.5, min_length=0, sequence_bias={(1, 2): -0.5}), 6, 0.7
        )
        assert (found.tokens, found.temperature, found.stop) == (6, 0.7, {3, 5})
        assert found.record() == {"stop": [3, 5], "repetition_penalty": 1.5, "sequence_bias": [[[1, 2], -0.5]]}
        assert decoding_of(self.model(**SHAPING), 6).shaping == {}
        assert plain(SimpleNamespace(to_dict=lambda: {"a": (1,)})) == {"a": [1]}
        for name, way, given in (("num_beams", "beam search", 2), ("penalty_alpha", "contrastive search", 0.5)):
            assert refused(decoding_of, self.model(**{name: given}), 6) == (
                f"The generation config of m asks for {way} ({name} = {given}), and answers are made here one token "
                f"after the other; "
                f"set model.hf.generation_config.{name} = None."
            )
        decoding_of(self.model(num_beams=1, token_healing=False, guidance_scale=None, penalty_alpha=0), 6)

    def test_what_ends(self) -> None:
        assert stop_ids(self.model(eos_token_id=0)) == {0}
        assert stop_ids(self.model()) == {4}
        nothing = self.model()
        nothing.facts.config.eos_token_id = None
        assert stop_ids(nothing) == {9}
        nothing.tokenizer = None
        assert stop_ids(nothing) == frozenset()

    def test_greedy_steps(self) -> None:
        """Two rows: the first ends by its end token, the second by the limit of three."""
        logits = [
            torch.tensor(x)
            for x in ([[0.0, 9, 1], [5.0, 1, 0]], [[0.0, 1, 9], [1.0, 9, 0]], [[0.0, 9, 0], [0.0, 0, 9]])
        ]
        choosing = Choosing(self.model(), [(1,), (2,)], Decoding(3, stop=frozenset({2})))
        made, alive = [], []
        for x in logits:
            made.append(choosing.choose(x))
            alive.append(choosing.alive.tolist())
        assert alive == [[True, True], [False, True], [False, False]]
        first, second = generated(made, 2)
        assert (first.ids, second.ids) == ((1, 2), (0, 1, 2))
        for response, row in ((first, 0), (second, 1)):
            for step, (token, p) in enumerate(zip(*response, strict=True)):
                e = [math.exp(x) for x in logits[step][row].tolist()]
                assert p == pytest.approx(math.log(e[token] / sum(e)), abs=1e-5)

    def test_draws_invert_the_distribution(self) -> None:
        choosing = Choosing(self.model(), [(1,)] * 3, Decoding(2, 0.5), seeds=[0, 1, 2])
        draws = [
            torch.rand(2, generator=torch.Generator().manual_seed(s), dtype=torch.float64)[0].item() for s in range(3)
        ]
        p = [0.1, 0.3, 0.6]
        logits = torch.tensor([[0.5 * math.log(x) for x in p]]).expand(
            3, 3
        )  # at temperature 0.5 the squares are drawn from: p
        choosing.choose(logits)
        assert choosing.last.tolist() == [next(i for i in range(3) if d < sum(p[: i + 1])) for d in draws]
