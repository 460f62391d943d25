"""An entry of the list of prompts shows what differs between prompts, not the words that all begin with."""

import pytest
from workbench_app.dashboard.texts.told_apart import told_apart

SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n<|im_start|>user\n"
END = "<|im_end|>\n<|im_start|>assistant\n"
LONG = "word " * 30


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["How do I bake?", "How do I boil rice?"], ["… bake", "… boil rice"]),
        (["in 1957", "in 1923"], ["… 1957", "… 1923"]),
        (["baking it", "cooking it"], ["baking", "cooking"]),
        (["bread", "rice"], ["bread", "rice"]),
        (["same", "same"], ["same", "same"]),
        (["only one"], ["only one"]),
        (["a", "a b"], ["…", "… b"]),
        ([f"x {LONG}one", f"x {LONG}two", "y"], [f"x {LONG[:18]} … one", f"x {LONG[:18]} … two", "y"]),
    ],
)
def test_what_all_share_is_left_out_in_whole_words(texts: list[str], said: list[str]) -> None:
    assert [text.strip() for text in told_apart(texts, texts)] == said


def test_a_system_prompt_that_all_have_is_in_no_entry_also_where_one_is_listed() -> None:
    every = [f"{SYSTEM}{asked}{END}" for asked in ("What is bread?", "Who bakes?", "Why?")]
    assert told_apart(every, every) == ["… What is bread", "… Who bakes", "… Why"]
    assert told_apart(every[1:2], every) == ["… Who bakes"]
    assert max(map(len, told_apart([f"{LONG}{text}" for text in every], every))) <= 80
