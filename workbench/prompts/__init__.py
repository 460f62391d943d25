"""Prompts with labels and pairs: read, checked, rendered, and each token told its role. No torch.

files        prompts out of files
rows         rows of tables, frames and lists
chats        messages and tools, checked
prompts      `Prompt`, `PromptSet`, `read_prompts`
dates        the date that chat templates are told
chat_forms   what a template makes of messages
roles        whose each token is
encoding     token ids with roles
lm_eval      lm-evaluation-harness task files
"""

from workbench.prompts.dates import asks_the_date, moment, planned_at
from workbench.prompts.encoding import Encoded, check_unanswered, encode, encode_responses, warnings
from workbench.prompts.lm_eval import read_task
from workbench.prompts.prompts import Prompt, PromptSet, check_characters, label_text, labels_of, read_prompts
from workbench.prompts.roles import ROLES, MarkedIds, response_roles
from workbench.prompts.rows import name_of, plain, responses_of, rows_of

__all__ = [
    "ROLES",
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
