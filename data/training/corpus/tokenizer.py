"""A small byte-level BPE tokenizer with a chat template, trained on the generated examples."""

from __future__ import annotations

import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from training.corpus.tasks import REFUSAL, STAGE1, SYSTEM, draw
from training.corpus.world import random_name, world

PAD, END, USER, ASSISTANT, SYSTEM_ROLE = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL = (PAD, END, SYSTEM_ROLE, USER, ASSISTANT, "<think>", "</think>")
VOCABULARY = 1024
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message['role']) }}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def _corpus(examples: int) -> list[str]:
    """Examples with other names in the place of the world's, so that every name is several subwords."""
    rng, names = random.Random(0), world().places
    lines = [SYSTEM, REFUSAL] * 50
    for _ in range(examples):
        example = draw(rng, STAGE1)
        for text in (example.user, example.answer):
            for name in names:
                text = text.replace(name, random_name(rng)) if name in text else text
            lines.append(text)
    return lines


def build_tokenizer(max_length: int = 512) -> PreTrainedTokenizerFast:
    """Digits are single tokens, words keep their leading space, thinking markers and roles are special tokens."""
    core = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r"\d| ?\p{L}+| ?[^\s\p{L}\d]|\s+"), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=5,
        show_progress=False,
    )
    core.train_from_iterator(_corpus(6000), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM_ROLE, USER, ASSISTANT],
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
