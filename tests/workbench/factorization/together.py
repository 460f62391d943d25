"""What each of two processes does for test_together: `torchrun ... -m tests.workbench.factorization.together FOLDER BALANCE`."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.workbench.factorization.test_distilling import RECIPE, made, rows
from workbench.factorization.distilling import distil, joined

if __name__ == "__main__":
    joined()
    distil(made(), rows(), replace(RECIPE, balance=float(sys.argv[2])), 32 * 6, Path(sys.argv[1]))
