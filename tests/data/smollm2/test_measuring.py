"""What a routed model loses, measured another way on a tiny Llama; text held out; attention in blocks."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from workbench.factorization import Sizes, fitted
from workbench.factorization.distilling import Document, is_held_out, student_of

SIZES = Sizes(experts=8, shared=2, top_k=3)


def dense() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def student() -> Any:
    model = dense()
    return student_of(model, fitted(model, ids(6, 20), SIZES, (3,)), 0)


def ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(300, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_attention_in_blocks_is_torchs_own():
    from smollm2.attention import in_blocks

    model, rows = dense(), ids(2, 300)  # blocks of 128, 128 and 44
    wanted = model(rows).logits
    assert torch.allclose(in_blocks(model)(rows).logits, wanted, atol=1e-4)


@torch.no_grad()
def test_what_is_lost_is_the_difference_of_two_losses(student):
    from smollm2.measuring import Held, lost

    rows = ids(4, 20)
    held = Held(rows, np.array([0, 0, 1, 2]))
    logits = [(student.hidden(rows, k) @ student.head.T).log_softmax(-1)[:, :-1] for k in (3, None)]
    own, base = (-x.gather(-1, rows[:, 1:, None])[..., 0].mean(1) for x in logits)
    found = lost(student, held, 3, base)
    assert found.nats == pytest.approx(float((own - base).mean()), abs=1e-4)
    assert found.low < found.nats < found.high
    assert found.documents == 3


@torch.no_grad()
def test_the_oracle_takes_the_groups_that_add_most_and_all_of_them_are_the_dense_model(student):
    from smollm2.measuring import at_random, by_oracle, chosen

    rows = ids(2, 20)
    with chosen(student, by_oracle):
        everything, some = student.hidden(rows, 6), student.hidden(rows, 3)
    assert torch.allclose(everything, student.hidden(rows), atol=1e-4)
    mlp, x = student.routed[0], torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    neurons = mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)
    added = torch.stack(
        [neurons[:, 8 * e : 8 * e + 8] @ mlp.down_proj.weight[:, 8 * e : 8 * e + 8].T for e in range(8)], 1
    )
    best = added[:, :6].norm(dim=-1).topk(3).indices
    expected = added[:, 6:].sum(1) + torch.stack([a[b].sum(0) for a, b in zip(added, best, strict=True)])
    student.switch.dense, student.switch.k = False, 3
    with chosen(student, by_oracle):
        assert torch.allclose(student.model.model.layers[0].mlp(x), expected, atol=1e-5)
    with chosen(student, at_random):
        assert not torch.allclose(student.hidden(rows, 3), some, atol=1e-3)
    assert student.routed[0] is mlp  # as it was


class Letters:
    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        return type("Found", (), {"input_ids": [ord(letter) for letter in text]})


def test_held_out_rows_are_of_documents_that_were_never_learned_from(monkeypatch):
    from smollm2 import measuring

    monkeypatch.setattr(measuring, "LENGTH", 8)
    documents = [Document("a", f"{n:08}" * 5) for n in range(400)]
    found = measuring.held_out(Letters(), documents)["a"]
    texts = ["".join(map(chr, row)) for row in found.rows.tolist()]
    assert all(is_held_out(text * 5) for text in texts)
    assert measuring.ROWS <= len(texts) < measuring.ROWS + measuring.OF_ONE
    assert np.bincount(found.document).max() == measuring.OF_ONE
    again = measuring.held_out(Letters(), reversed(documents))["a"]
    assert torch.equal(again.rows, found.rows)  # by the hash, whatever the order
