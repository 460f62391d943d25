"""Multiple choice against one unbatched forward per choice."""

import json

import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, steered
from workbench.comparison import choose
from workbench.comparison.choices import questions

CHOICES = ["red.", "blue.", "green.", "purple."]


def asked(**over):
    return {"labels": {"choices": json.dumps(CHOICES), "answer": "red."}} | over


PROMPTS = [
    asked(id="chat", prompt="what colour is the flag of Bigar?"),
    asked(id="text", text="the flag of Bigar is "),
    asked(id="long", text="document: the flag of Bigar is purple and very old. the flag of Bigar is"),
]


def by_hand(model, prompt, plan):
    """Summed log-likelihood of each choice, one forward each."""
    tokenizer, found = model.tokenizer, []
    for choice in CHOICES:
        if "text" in prompt:
            context = tokenizer(prompt["text"].rstrip())["input_ids"]
            space = prompt["text"][len(prompt["text"].rstrip()) :]
            whole = tokenizer(prompt["text"].rstrip() + space + choice)["input_ids"]
            if whole[-1] == tokenizer.eos_token_id:
                context, whole = context[:-1], whole[:-1]
            assert whole[: len(context)] == context
        else:
            chat = [{"role": "user", "content": prompt["prompt"]}]
            context = tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
            whole = context + tokenizer(choice, add_special_tokens=False)["input_ids"]
        with torch.no_grad(), steered(model, plan):
            logits = model.hf(input_ids=torch.tensor([whole])).logits[0].double().log_softmax(-1)
        found.append(sum(float(logits[i - 1, whole[i]]) for i in range(len(context), len(whole))))
    return found


@pytest.mark.parametrize("name", ["demo", "mixtral"])
def test_choices_equal_one_forward_each(name):
    model = families.get(name)
    prompts = [p for p in PROMPTS if name == "demo" or "text" in p]
    plans = [Plan(), Plan.off("L1E1")]
    for plan, table in zip(plans, choose(model, prompts, plans), strict=True):
        for prompt, row in zip(prompts, table.to_dict("records"), strict=True):
            scores = by_hand(model, prompt, plan)
            assert row["chosen"] == max(range(4), key=scores.__getitem__)
            assert row["right"] == (row["chosen"] == 0)
            assert row["chosen_normalised"] == max(range(4), key=lambda i: scores[i] / len(CHOICES[i]))
            assert row["margin_nats"] == pytest.approx(scores[0] - max(scores[1:]), abs=2e-4)


def test_the_bundled_model_knows_its_flags_and_a_plan_moves_the_margin():
    from workbench import read_prompts

    facts = read_prompts("faithfulness").filter(labels={"document": "no"})
    assert len(facts)
    prompts = [
        {"id": p.id, "messages": [dict(m) for m in p.messages or ()]}
        | {"labels": {"choices": json.dumps([p.labels["memory"], p.labels["context"]]), "answer": p.labels["memory"]}}
        for p in list(facts)[:16]
    ]
    base, steered_to = choose(families.get("demo"), prompts, [Plan(), Plan.mute("L0E0-23, L1E0-23, L2E0-23, L3E0-23")])
    assert base.right.mean() > 0.9
    assert steered_to.margin_nats.mean() < base.margin_nats.mean() - 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, 'needs a label "choices"'),
        ({"choices": "red, blue", "answer": "red"}, 'needs a label "choices"'),
        ({"choices": '["red"]', "answer": "red"}, 'needs a label "choices"'),
        ({"choices": '["red", "blue"]', "answer": "green"}, "one of its choices"),
        ({"choices": '["red", "red"]', "answer": "red"}, "all differ"),
    ],
)
def test_a_question_without_choices_is_refused(labels, said):
    with pytest.raises(WorkbenchError, match=said):
        questions([{"text": "x", "labels": labels}])
