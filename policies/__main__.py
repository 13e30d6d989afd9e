"""The pack as the Pulumi CLI starts it: ``pulumi preview --policy-pack policies``."""

from __future__ import annotations

import sys
from pathlib import Path

# The CLI runs this file by its path, and the package it belongs to lies one folder higher.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi_policy import PolicyPack

from policies.rules import RULES

NAME = "ml-training-deployment"


def main() -> None:
    """Serve the rules until the CLI stops it."""
    PolicyPack(NAME, [rule.policy() for rule in RULES.values()])


if __name__ == "__main__":
    main()
