"""Notes on a tokenisation, and the characters that each token stands for."""

from tests.support.refusals import refused
from workbench.loading import tiny_tokenizer
from workbench.prompts import encode, encode_responses, warnings
from workbench.prompts.encoding import offsets_by_decoding


class TestEncoding:
    def test_notes(self) -> None:
        tokenizer = tiny_tokenizer()
        found = encode(
            tokenizer, [{"id": "a", "text": "x"}, {"id": "b", "prompt": "y", "chat_template_kwargs": {"z": 1}}, "</s>q"]
        )
        assert [list(p.ids) for p in found] == [[123, 1], [b + 3 for b in b"[user] y\n[assistant] "], [1, 116, 1]]
        assert [p.text for p in found] == ["x", "[user] y\n[assistant] ", "</s>q"]
        plain = "roles are unknown: text is tokenised as it is, so no chat template says who speaks"
        assert [p.notes for p in found] == [
            (plain,),
            ("the chat template does not read z, so it changes nothing",),
            (plain, "has special tokens typed in its text"),
        ]
        assert warnings(found) == [
            "has special tokens typed in its text (1 prompts, the first is 'p00002')",
            f"{plain} (2 prompts, the first is 'a')",
            "the chat template does not read z, so it changes nothing (1 prompts, the first is 'b')",
        ]
        assert encode_responses(tokenizer, {"a": ["x", "yz"]}) == {"a": [(123,), (124, 125)]}
        assert refused(encode_responses, tokenizer, {"a": ["x", ""]}) == (
            "A given response of the prompt 'a' is empty; leave it out or give it text."
        )

    def test_characters_of_byte_tokens(self) -> None:
        tokenizer = tiny_tokenizer()
        text = "a\u00e9\u6f22b"
        ids = [b + 3 for b in text.encode()]
        found = offsets_by_decoding(tokenizer, ids, text)
        assert found is not None
        assert found.tolist() == [[0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [2, 3], [3, 4]]
        assert offsets_by_decoding(tokenizer, ids, text + "c") is None
        assert offsets_by_decoding(tokenizer, ids, "b" + text) is None
