"""The pages that people read, and their blocks of code by language."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "data/README.md", "data/*/README.md")
    for page in ROOT.glob(pattern)
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(read(page)) if kind == language]


def shell(page: str) -> list[str]:
    """Every line of a block of shell."""
    return [line.strip() for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", read(page), flags=re.M | re.S)
