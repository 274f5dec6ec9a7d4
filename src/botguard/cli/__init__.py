"""The command ``botguard``: for people at a terminal, and for scripts that read its ``--json``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__all__ = ["main"]

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 all is well, 1 something is not, 2 the command line makes no sense.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        code = _demo(parser, options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `botguard demo | head`: nobody reads any more, and Python would complain at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="botguard", description="Makes the commands of bots and automations reliable."
    )
    parser.add_argument("--version", action="version", version=f"botguard {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="replay a day of a shop bot, with its failures",
        description="Replays recorded Telegram messages to a shop bot, with duplicates, mistakes, an outage and killed "
        "processes, and checks what the bot promised. It needs no network and takes a few seconds.",
        epilog="Exit code: 0 if every promise was kept, 1 if one was broken, 2 if the command line makes no sense.",
    )
    demo.add_argument("--database", metavar="PATH", help="keep everything in this new file (default: a temporary one)")
    demo.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    demo.add_argument("--no-colour", "--no-color", action="store_true", help="print without colours (also: NO_COLOR=1)")
    return parser


def _demo(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    # Loaded here: `botguard --help` needs neither the guard nor its storage.
    from botguard.cli.demo import NotNew, run_demo

    try:
        return run_demo(options.database, as_json=options.json, colour=not options.no_colour)
    except NotNew as error:
        parser.error(str(error))


def _version() -> str:
    try:
        return version("botguard")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
