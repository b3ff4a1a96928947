"""deepcore data."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    fetch = actions.add_parser("fetch", help="download a data set, with checksum and resume",
                               epilog="example:\n  deepcore data fetch mnist --dest data/mnist",
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    fetch.add_argument("name", choices=("mnist", "fashion-mnist"))
    fetch.add_argument("--dest", metavar="DIR", help="folder for the files")
    fetch.add_argument("--base-url", metavar="URL", help="another mirror")
    fetch.add_argument("--quiet", action="store_true", help="no progress")
    fetch.set_defaults(run=run_fetch)
    listing = actions.add_parser("list", help="data sets and whether they are here",
                                 epilog="example:\n  deepcore data list --json",
                                 formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    listing.add_argument("--json", action="store_true", help="print one JSON object per line")
    listing.set_defaults(run=run_list)


def run_fetch(options: argparse.Namespace) -> int:
    """Download and say where it lies."""
    from deepcore import data

    print(data.fetch(options.name, options.dest, options.base_url, not options.quiet))
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Names, folders, presence."""
    from deepcore import data

    home = data.data_home()
    rows = [{"name": "digits", "here": True, "where": "in the package"}]
    for name in ("mnist", "fashion-mnist"):
        folder = home / name.replace("-", "_")
        rows.append({"name": name, "here": any(folder.glob("*ubyte*")), "where": str(folder)})
    for row in rows:
        print(
            json.dumps(row) if options.json else f"{row['name']:15} {'yes' if row['here'] else 'no ':3}  {row['where']}"
        )
    return 0
