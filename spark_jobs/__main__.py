"""Feature views: make one, and publish its latest values.

``python -m spark_jobs VIEW --out FOLDER`` and ``python -m spark_jobs publish --view FOLDER --to STORE``. A
folder may be ``s3://BUCKET/PREFIX``.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack, closing

from console import Arguments, run, say
from console.folders import fetched, sent
from spark_jobs.contract import FILE_NAME as CONTRACT
from spark_jobs.views import PUBLISH, VIEWS, load_view


def arguments(given: Sequence[str] | None) -> Namespace:
    """Read the arguments; ``command`` of the result is what to run with them."""
    given = sys.argv[1:] if given is None else given
    return _publishing(given[1:]) if given[:1] == [PUBLISH] else _making(given)


def _making(given: Sequence[str]) -> Namespace:
    parser = Arguments(
        prog="python -m spark_jobs",
        description="Make a feature view: FOLDER/view and FOLDER/quarantine (Parquet) and FOLDER/contract.json. "
        "A FOLDER may be s3://BUCKET/PREFIX.",
        epilog=f"`python -m spark_jobs {PUBLISH} --help`: write a view's latest values to an online store.",
    )
    parser.set_defaults(command=make)
    parser.add_argument("view", metavar="VIEW", help=f"the view to make: {', '.join(sorted(VIEWS))}")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where to; replaces an earlier run's")
    parser.add_argument(
        "--source", metavar="FOLDER", help="the folder of the source tables; by default, the view's own"
    )
    return parser.parse_args(given)


def _publishing(given: Sequence[str]) -> Namespace:
    parser = Arguments(
        prog=f"python -m spark_jobs {PUBLISH}",
        description="Write the latest values of each entity of a view to an online store.",
    )
    parser.set_defaults(command=publish)
    parser.add_argument(
        "--view", required=True, metavar="FOLDER", help="made by this command; may be s3://BUCKET/PREFIX"
    )
    parser.add_argument("--to", required=True, metavar="STORE", help="sqlite:///FILE or dynamodb:TABLE")
    parser.add_argument("--expires", metavar="TIME", help="how long they are read: 90d, 12h or 30m (default: always)")
    parser.add_argument(
        "--rejected",
        default="build/rejected",
        metavar="FOLDER",
        help="where rows that can't be published are kept, with the reason; may be s3://… (default build/rejected)",
    )
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    return run(lambda: _dispatch(arguments(given)))


def _dispatch(options: Namespace) -> int:
    options.command(options)
    return 0


def make(options: Namespace) -> None:
    view = load_view(options.view)
    from spark_jobs.job import run_job
    from spark_jobs.write import PRODUCTS

    with ExitStack() as stack:
        source = view.default_source() if options.source is None else stack.enter_context(fetched(options.source))
        out = stack.enter_context(sent(options.out, PRODUCTS, last=CONTRACT))
        contract = run_job(view, source, out)
    splits = ", ".join(f"{split.rows:,} {name}" for name, split in contract.splits.items())
    say(f"{options.out}: {splits}; contract {contract.digest[:12]}")


def publish(options: Namespace) -> None:
    from spark_jobs.publish import REJECTED, lifetime, publish_view
    from spark_jobs.stores import open_store

    expires = lifetime(options.expires) if options.expires is not None else None
    with ExitStack() as stack:
        store = stack.enter_context(closing(open_store(options.to)))
        folder = stack.enter_context(fetched(options.view))
        rejected = stack.enter_context(sent(options.rejected, {REJECTED}, last=REJECTED))
        found = publish_view(folder, store, options.to, rejected=rejected, expires=expires)
    for reason, rows in found.rejected.items():
        say(f"  {rows:,} rows rejected: {reason}")
    if found.rejected:
        say(f"  they are in {options.rejected}/{REJECTED}")
    say(f"{options.to}: {found.schema.view}, {found.entities:,} entities; contract {found.schema.contract[:12]}")


if __name__ == "__main__":
    sys.exit(main())
