"""The training scripts live beside the data and are not installed: they are found in the clone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
