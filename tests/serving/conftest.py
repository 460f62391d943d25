"""Tests inside vLLM. `make test-serving` runs them in an environment of its own; where vLLM is not, they are not collected.

One process holds all engines, which are started once each; what is set here is read when vLLM is imported.
"""

import os
from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]
for name, value in {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one mistake can be planted in this process
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_MLA_DISABLE": "1",  # its CPU kernels for latent attention want the sizes of the real models
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCHDYNAMO_DISABLE": "1",  # else a C++ compiler is started for the helpers of log-probabilities
}.items():
    os.environ.setdefault(name, value)
