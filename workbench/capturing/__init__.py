"""Prompts through a model into a store, streamed, resumable, by one process or several."""

from workbench.capturing.process import capture as capture
from workbench.capturing.request import Options as Options
from workbench.capturing.request import make_request as make_request
from workbench.capturing.sizes import Estimate as Estimate
from workbench.capturing.sizes import check_disk as check_disk
from workbench.capturing.sizes import estimate as estimate
