"""``python -m spark_jobs VIEW --out FOLDER``: make a feature view from its source tables."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from console import Arguments, run, say
from spark_jobs.views import VIEWS, load_view


def arguments(given: Sequence[str] | None) -> Namespace:
    parser = Arguments(
        prog="python -m spark_jobs",
        description="Make a feature view: FOLDER/view and FOLDER/quarantine (Parquet) and FOLDER/contract.json.",
    )
    parser.add_argument("view", metavar="VIEW", help=f"the view to make: {', '.join(sorted(VIEWS))}")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to; replaces an earlier run's")
    parser.add_argument(
        "--source", type=Path, metavar="FOLDER", help="the folder of the source tables; by default, the view's own"
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(lambda: make(arguments(given)))


def make(options: Namespace) -> int:
    view = load_view(options.view)
    from spark_jobs.job import run_job

    contract = run_job(view, options.source or view.default_source(), options.out)
    splits = ", ".join(f"{split.rows:,} {name}" for name, split in contract.splits.items())
    say(f"{options.out}: {splits}; contract {contract.digest[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
