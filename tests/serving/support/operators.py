"""Run as a program: the operators of the same steps in three engines on one checkpoint, as JSON lists of names.

The first is stock vLLM, without plugins; for the second ours was loaded, and not asked for; in the third it is at work.
"""

import json
import os
import sys
from typing import Any

from workbench.serving.plugin import VARIABLE, Settings


def operators(folder: str) -> list[str]:
    """Of a prompt's step and two more, by the profiler, in the order in which they began."""
    from torch.profiler import ProfilerActivity, profile
    from vllm import LLM, SamplingParams, TokensPrompt

    from tests.serving.support.models import ENGINE

    how: dict[str, Any] = {"enforce_eager": True, "skip_tokenizer_init": True, "async_scheduling": False}
    llm = LLM(model=folder, dtype="float32", disable_log_stats=True, enable_prefix_caching=False, **how, **ENGINE)

    def steps() -> None:
        said = SamplingParams(max_tokens=3, temperature=0, ignore_eos=True, detokenize=False)
        llm.generate(TokensPrompt(prompt_token_ids=[20, 33, 47, 90, 211]), said, use_tqdm=False)

    steps()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        steps()
    events = sorted(seen.events(), key=lambda event: event.time_range.start)
    return [event.name for event in events if "::" in event.name]


def main() -> None:
    import vllm.plugins

    (folder,) = sys.argv[1:]
    found = list[list[str]]()
    for plugins, asked in (("none", ""), (None, ""), (None, json.dumps(Settings()._asdict()))):
        os.environ |= {VARIABLE: asked, "VLLM_PLUGINS": plugins or ""}
        if plugins is None:
            del os.environ["VLLM_PLUGINS"]
        vllm.plugins.plugins_loaded = False
        found.append(operators(folder))
    sys.stdout.write(f"\n{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
