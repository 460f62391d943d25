"""Run as a program by `serving.py` in vLLM's own environment: one engine, which does as often as it is told what it is told.

python -m tests.benchmarks.serving_engine MODEL stock|idle|work

stock  no plugin is loaded; idle: ours is, and was not asked for; work: plans and captures are served
Each line on its standard input is one of KINDS; after each it prints the tokens that it made.
"""

import json
import os
import sys
from functools import partial
from typing import Any

import numpy as np

N_REQUESTS, N_PROMPT, N_TOKENS = 32, 64, 16
KINDS = ("base", "plan", "capture", "logits")
OPTIONS: dict[str, Any] = {
    "dtype": "float32", "enforce_eager": True, "skip_tokenizer_init": True, "disable_log_stats": True,
    "enable_prefix_caching": False, "async_scheduling": False, "max_model_len": 128, "max_num_seqs": 64,
    "max_num_batched_tokens": 4096, "kv_cache_memory_bytes": 1 << 28, "block_size": 32,
}  # fmt: skip


def environment(kind: str) -> dict[str, str]:
    """What decides how an engine of this kind starts."""
    from workbench.serving.plugin import VARIABLE, Settings

    said = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    said |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_PLUGINS": "none"}
    if kind != "stock":
        del said["VLLM_PLUGINS"]
    asked = json.dumps(Settings(waiting=1 << 30)._asdict()) if kind == "work" else ""
    return said | {VARIABLE: asked}


def engine(model: str) -> Any:
    """vLLM on the model, and what a request asks of it, by kind."""
    from workbench import Plan, load
    from workbench.loading import read_once
    from workbench.routing import compile_plan
    from workbench.serving.requests import asking

    read = read_once(model, partial(load, model, check=False), {})
    anatomy = read.facts.anatomy
    first, *_, last = anatomy.moe_layers
    plan = compile_plan(Plan.off([(first, 1), (last, 2)]), anatomy, None)
    from vllm import LLM

    llm = LLM(model=read.path, **OPTIONS)
    asked = {
        "base": {},
        "plan": asking(plan),
        "capture": asking(None, follow="slots"),
        "logits": asking(None, follow="slots", logits=anatomy.moe_layers),
    }
    return llm, asked, read.facts.n_embeddings


def run(llm: Any, extra: dict[str, str], n_embeddings: int) -> int:
    from vllm import SamplingParams, TokensPrompt

    rng = np.random.default_rng(0)
    prompts = [
        TokensPrompt(prompt_token_ids=row) for row in rng.integers(10, n_embeddings, (N_REQUESTS, N_PROMPT)).tolist()
    ]
    how = SamplingParams(
        max_tokens=N_TOKENS, temperature=0, ignore_eos=True, detokenize=False, extra_args=extra or None
    )
    made = llm.generate(prompts, how, use_tqdm=False)
    if "follow" in str(extra):
        llm.generate(prompts[:1], SamplingParams(max_tokens=1, detokenize=False), use_tqdm=False)  # tells who has ended
        said, data = llm.collective_rpc("workbench_waiting")[0]
        assert len(json.loads(said)["ended"]) == N_REQUESTS
        assert len(data) > N_REQUESTS * N_PROMPT
    return sum(len(one.outputs[0].token_ids) for one in made)


def main() -> None:
    model, kind = sys.argv[1:]
    os.environ |= environment(kind)
    llm, asked, n_embeddings = engine(model)
    run(llm, {}, n_embeddings)
    if kind == "work":
        told = json.loads(llm.collective_rpc("workbench_layers")[0])
        assert not told["reasons"], told
        rules = json.loads(llm.collective_rpc("workbench_rules")[0])
        assert all("rule" in rule for rule in rules.values()), rules
    print("ready", flush=True)
    for line in sys.stdin:
        print(run(llm, asked[line.strip()], n_embeddings), flush=True)


if __name__ == "__main__":
    main()
