"""Exchanges become rows: encoded, filled in order, and the same batches for the same seed."""

import random

from tests.data.training.made import Letters, codes


def test_an_exchange_is_encoded_with_what_is_given_before_the_answer():
    from training.corpus.packing import encode
    from training.corpus.tasks import Example

    assert encode(Letters(), Example("hi", "yo")) == ([*codes("<u>hi>yo"), 1], 6)
    told = Example("hi", "yo", "sys", "be")
    assert encode(Letters(), told) == ([*codes("<s>sys<u>hi>beyo"), 1], len("<s>sys<u>hi>be"))


def test_rows_are_filled_in_order_and_every_example_sees_itself_alone():
    from training.corpus.packing import pack

    # three tokens each of which the first is the prompt; four with two of prompt; one that finds no room
    encoded = [([5, 6, 7], 1), ([8, 9, 10, 11], 2), ([12, 13], 1), ([1] * 6, 2), ([14, 6], 1)]
    found = pack(encoded, rows=2, length=5, pad=0, wanted=6)
    assert found.ids.tolist() == [[5, 6, 7, 12, 13], [8, 9, 10, 11, 0]]
    assert found.positions.tolist() == [[0, 1, 2, 0, 1], [0, 1, 2, 3, 0]]
    assert found.targets.tolist() == [[-100, 6, 7, -100, 13], [-100, -100, 10, 11, -100]]
    assert found.real.tolist() == [[True] * 5, [True] * 4 + [False]]
    # the last prompt token of an answer that does not start with 6
    assert found.aside.tolist() == [[False, False, False, True, False], [False, True, False, False, False]]
    seen = [{(q, k) for q in range(5) for k in range(5) if found.mask[row, 0, q, k]} for row in range(2)]
    assert seen[0] == {(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 3), (4, 3), (4, 4)}
    assert seen[1] == {(q, k) for q in range(4) for k in range(q + 1)} | {(4, 4)}
    assert found.mask.shape == (2, 1, 5, 5)


def test_two_pads_do_not_see_each_other_and_by_default_no_answer_is_the_wanted_one():
    from training.corpus.packing import pack

    found = pack([([5, 6], 1)], rows=1, length=4, pad=0)
    assert [[bool(found.mask[0, 0, q, k]) for k in range(4)] for q in (2, 3)] == [[0, 0, 1, 0], [0, 0, 0, 1]]
    assert found.aside.tolist() == [[True, False, False, False]]


def test_batches_are_the_same_for_the_same_seed_and_go_on():
    from training.corpus.packing import batches
    from training.corpus.tasks import Example

    def draw(rng):
        return Example(rng.choice("ab"), rng.choice("cdef"))  # 7 tokens: < u > a > c and the end

    stream = batches(Letters(), draw, 3, 2, 14, ord("c"))
    rng, first = random.Random(3), next(stream)
    for batch in (first, next(stream)):
        drawn = [draw(rng) for _ in range(4)]  # 28 tokens fill two rows of 14
        rows = [[*codes(f"<u>{e.user}>{e.answer}"), 1] for e in drawn]
        assert batch.ids.tolist() == [rows[0] + rows[1], rows[2] + rows[3]]
        aside = [[e.answer != "c" for e in drawn[i : i + 2]] for i in (0, 2)]
        assert batch.aside[:, [4, 11]].tolist() == aside
        assert batch.aside.sum() == sum(map(sum, aside))
    assert first.targets[0, :7].tolist() == [-100] * 5 + first.ids[0, 5:7].tolist()
