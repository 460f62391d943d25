"""What each part writes, against muting: without an expert the layer answers less by just what that expert is said to write."""

import pandas as pd
import pytest
import torch

from tests.support import families
from tests.support.families import slow
from workbench import Plan, WorkbenchError, steered
from workbench.attribution import writers

TEXT = [{"id": "a", "text": "what happened in 1957 was told"}, {"id": "b", "text": "four words of text"}]
FAMILIES = (
    "mixtral",
    "granitemoe",
    "qwen2_moe",
    "deepseek_v3",
    "glm4_moe",
)  # granitemoe multiplies, qwen2_moe has a gate


def places(layer: int) -> pd.DataFrame:
    rows = [(prompt, position, layer, channel) for prompt in "ab" for position in (0, 2) for channel in (1, 5)]
    return pd.DataFrame(rows, columns=["prompt_id", "position", "layer", "channel"])


def answered(model, text: str, layer: int, plan: Plan) -> torch.Tensor:
    """What the layer answers under a plan, [tokens, hidden]."""
    seen = []
    hook = model.runtime.layout.layers[layer].register_forward_hook(
        lambda m, given, out: seen.append(out[0] if isinstance(out, tuple) else out)
    )
    try:
        with torch.no_grad(), steered(model, plan):
            model.hf(torch.tensor([model.tokenizer(text)["input_ids"]]), use_cache=False)
    finally:
        hook.remove()
    return seen[0].reshape(-1, seen[0].shape[-1]).double()


@pytest.mark.parametrize("name", slow(FAMILIES, but=("granitemoe", "qwen2_moe")))
def test_without_an_expert_the_layer_answers_less_by_what_the_expert_writes(name: str) -> None:
    model = families.build(name, residual_multiplier=0.25) if name == "granitemoe" else families.get(name)
    layer = model.anatomy.moe_layers[-1]
    found = writers(model, TEXT, places(layer))
    text, at = {row["id"]: row["text"] for row in TEXT}, ["prompt_id", "position", "channel"]
    bare = {name: answered(model, said, layer, Plan()) for name, said in text.items()}
    for (prompt, position, channel), rows in found.groupby(at):
        after = float(bare[str(prompt)][position, channel])
        assert rows["value"].sum() == pytest.approx(after, abs=1e-9)
        assert rows["share"].sum() == pytest.approx(1, abs=1e-6)
        assert abs(rows.set_index("part")["value"]["rest"]) < 1e-4 * max(1.0, abs(after))
    experts = found[found["part"].str.match(r"L\d")]
    assert experts["value"].abs().max() > 1e-3
    shared = {str(ref) for ref in model.anatomy.refs(shared=True) if ref.is_shared and ref.layer == layer}
    assert shared <= set(experts["part"])
    for part, rows in experts.groupby("part"):
        for prompt, some in rows.groupby("prompt_id"):
            muted = answered(model, text[str(prompt)], layer, Plan.mute(str(part)))
            for row in some.itertuples():
                less = float(bare[str(prompt)][row.position, row.channel] - muted[row.position, row.channel])
                assert row.value == pytest.approx(less, abs=1e-5), (part, row)


def test_places_that_are_not_there_and_layers_that_are_no_sum_are_refused() -> None:
    model = families.get("mixtral")
    with pytest.raises(WorkbenchError, match="the prompt 'c', which is none of these 2 prompts"):
        writers(model, TEXT, places(0).assign(prompt_id="c"))
    with pytest.raises(WorkbenchError, match="position 99 and channel 1 of 'a', which has"):
        writers(model, TEXT, places(0).assign(position=99))
    with pytest.raises(WorkbenchError, match=r"Layer 77 of .* has no experts"):
        writers(model, TEXT, places(77))
    with steered(model, Plan.mute("L0E0")), pytest.raises(WorkbenchError, match="outside `with steered`"):
        writers(model, TEXT, places(0))
    assert writers(model, TEXT, places(0).iloc[:0]).empty
