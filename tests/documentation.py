"""The commands in the documentation, and what it shows them to print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


@dataclass(frozen=True)
class Example:
    """A command of a page, after its ``$``, and the lines under it."""

    page: str
    command: str
    output: str

    @property
    def program(self) -> str:
        """The command without its comment."""
        return self.command.split("  #")[0].strip()


def examples(page: Path) -> list[Example]:
    """Every command of a page, in order. A command goes on over lines as it does in a shell."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [example for block in blocks for example in _examples(page.name, block)]


def _examples(page: str, block: str) -> Iterator[Example]:
    # What make prints has the commands in it that it runs: they are its output.
    parts = [block[2:]] if block.startswith("$ make") else re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    for part in parts:
        lines = part.splitlines()
        length = 1
        while _goes_on("\n".join(lines[:length])) and length < len(lines):
            length += 1
        yield Example(page, "\n".join(lines[:length]), "\n".join(lines[length:]).strip())


def _goes_on(command: str) -> bool:
    return command.endswith("\\") or command.count("'") % 2 == 1


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, digests, run ids."""
    return re.sub(r"\s+", " ", re.sub(r"[0-9a-f]{12,}|[-+]?\d[\d.,]*(e-?\d+)?", "#", line)).strip()
