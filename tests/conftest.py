"""Shared fixtures. Everything runs offline, on the CPU, with one torch thread per worker."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from importlib.util import find_spec

import torch

if find_spec("hypothesis"):  # tests/gpu runs where there is none
    from hypothesis import settings

    settings.register_profile("workbench", deadline=None)  # a contended machine is no bug
    settings.load_profile("workbench")
torch.set_num_threads(1)  # the machine's cores belong to the workers
