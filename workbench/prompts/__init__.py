"""Prompts with labels and pairs: read, checked, rendered, and each token told its role. No torch.

files.py        prompts out of files
rows.py         rows of tables, frames and lists
chats.py        messages and tools, checked
prompts.py      `Prompt`, `PromptSet`, `read_prompts`
dates.py        the date that chat templates are told
chat_forms.py   what a template makes of messages
roles.py        whose each token is
encoding.py     token ids with roles
lm_eval.py      lm-evaluation-harness task files
"""

from workbench.prompts.dates import asks_the_date, moment, planned_at
from workbench.prompts.encoding import (
    TEXT_HAS_NO_ROLES,
    Encoded,
    check_unanswered,
    encode,
    encode_responses,
    warnings,
)
from workbench.prompts.lm_eval import read_task
from workbench.prompts.prompts import Prompt, PromptSet, check_characters, label_text, labels_of, read_prompts
from workbench.prompts.roles import ROLES, MarkedIds, response_roles
from workbench.prompts.rows import name_of, plain, responses_of, rows_of

__all__ = [
    "ROLES",
    "TEXT_HAS_NO_ROLES",
    "Encoded",
    "MarkedIds",
    "Prompt",
    "PromptSet",
    "asks_the_date",
    "check_characters",
    "check_unanswered",
    "encode",
    "encode_responses",
    "label_text",
    "labels_of",
    "moment",
    "name_of",
    "plain",
    "planned_at",
    "read_prompts",
    "read_task",
    "response_roles",
    "responses_of",
    "rows_of",
    "warnings",
]
