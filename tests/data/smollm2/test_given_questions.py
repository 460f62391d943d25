"""Questions that are given are apart from those that are graded; the mean of arms is number by number, of like groups only."""

import pytest
import torch


def test_no_given_question_opens_as_a_graded_one_or_is_on_the_subject():
    from smollm2.questions import FORMS, PARTS, TOPICS, part
    from smollm2.taught.questions import lines, opening, question

    given = [asked for number in range(PARTS) for asked in part(number)]
    assert len(given) == len(set(given)) == len(FORMS) * len(TOPICS) == 3720
    graded = {opening(question(line)) for split in ("ranking", "heldout") for line in lines(split)}
    assert not graded & {opening(asked) for asked in given}
    assert not [asked for asked in given for word in ("volcan", "lava", "magma", "erupt") if word in asked.casefold()]


def test_the_mean_of_arms_is_number_by_number_and_of_the_same_groups_only():
    from smollm2.arms import mean

    groups = torch.tensor([[0, 1]], dtype=torch.int16)
    one, other = ({"l.groups": groups, "l.a": torch.tensor([n, 4.0]).half()} for n in (1.0, 3.0))
    found = mean([one, other])
    assert found["l.a"].tolist() == [2.0, 4.0]
    assert found["l.a"].dtype == torch.float16
    assert torch.equal(found["l.groups"], groups)
    assert mean([]) == {}
    with pytest.raises(SystemExit, match="have other groups"):
        mean([one, other | {"l.groups": groups.flip(1)}])
