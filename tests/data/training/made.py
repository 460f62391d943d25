"""Small stand-ins of the training: a tokenizer of single characters."""


class Letters:
    """A tokenizer of single characters: each is its code; 1 ends, 0 pads."""

    eos_token_id, pad_token_id = 1, 0

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        assert add_generation_prompt
        assert not tokenize
        return "".join(f"<{m['role'][0]}>{m['content']}" for m in messages) + ">"

    def __call__(self, text, add_special_tokens=True):
        assert not add_special_tokens
        return {"input_ids": [ord(c) for c in text]}


def codes(text):
    return [ord(c) for c in text]
