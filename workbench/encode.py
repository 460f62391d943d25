"""From a prompt to token ids: text as it is, messages through the tokenizer's chat template."""

from typing import Any

from workbench.errors import WorkbenchError
from workbench.prompts import Prompt


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of the prompt; a chat ends where the assistant's answer begins (or goes on, when it has begun).

    Raises `WorkbenchError` without a tokenizer or chat template, or when no token comes out.
    """
    if tokenizer is None:
        raise WorkbenchError(
            "This model was loaded without a tokenizer, so prompts cannot be read; pass load(..., tokenizer)."
        )
    if prompt.text is not None:
        ids = tokenizer(prompt.text)["input_ids"]
        # an end-of-sequence that the tokenizer puts behind every text (ByT5, T5) would end the prompt before its answer
        ids = (
            ids[:-1]
            if ids and ids[-1] == tokenizer.eos_token_id and not prompt.text.endswith(tokenizer.eos_token)
            else ids
        )
    else:
        ids = _encode_chat(tokenizer, prompt)
    if not len(ids):
        raise WorkbenchError(f"Prompt '{prompt.id}' has no tokens; it needs at least one.")
    return list(ids)


def encode_response(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a response, without tokens that the tokenizer adds around a text."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _encode_chat(tokenizer: Any, prompt: Prompt) -> list[int]:
    if not getattr(tokenizer, "chat_template", None):
        raise WorkbenchError(
            f"Prompt '{prompt.id}' is a chat, and this tokenizer has no chat template; give it as 'text', or set "
            f"tokenizer.chat_template."
        )
    messages = [dict(m) for m in prompt.messages or ()]
    goes_on = messages[-1]["role"] == "assistant"
    made = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=not goes_on, continue_final_message=goes_on, return_dict=True
    )
    return made["input_ids"]


def check_lengths(lengths: dict[str, int], more: int, context: int | None, what: str) -> None:
    """Raises `WorkbenchError` naming the first prompt that, with `more` tokens, does not fit into the context."""
    for prompt_id, n in lengths.items():
        if context is not None and n + more > context:
            with_more = f" and {more} to generate" if more else ""
            raise WorkbenchError(
                f"Prompt '{prompt_id}' has {n:,} tokens{with_more}, and {what} holds {context:,}; shorten it or leave it out."
            )
