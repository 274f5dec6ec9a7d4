"""The command ``botguard``: for people at a terminal, and for scripts that read its ``--json``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from botguard.cli.app import add_app_option, load_guard
from botguard.errors import ConfigurationError

__all__ = ["main"]

USAGE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit code: 0 all is well, 1 something is not, 2 the command line makes no sense.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        code: int = options.run(parser, options)
        sys.stdout.flush()
    except ConfigurationError as error:
        print(f"botguard: {error}", file=sys.stderr)
        return USAGE
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
        "processes, and checks what the bot promised. It needs no network and takes a few seconds. With --app and "
        "--script it runs the lines of your own script on your own guard instead.",
        epilog="Exit code: 0 if every promise was kept, 1 if one was broken, 2 if the command line or the script makes no "
        "sense, 3 if your guard's store cannot be reached.",
    )
    demo.add_argument("--database", metavar="PATH", help="keep everything in this new file (default: a temporary one)")
    demo.add_argument("--facts", action="store_true", help="show what was compared for each promise, too")
    demo.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_app_option(demo, required=False)
    demo.add_argument("--script", metavar="FILE", help="what to run on your guard: one JSON object a line")
    demo.add_argument("--no-colour", "--no-color", action="store_true", help="print without colours (also: NO_COLOR=1)")
    demo.set_defaults(run=_demo)
    metrics = commands.add_parser(
        "metrics",
        help="print the metrics of a guard",
        description="Imports your guard and prints its metrics in the text format of Prometheus. Runs are counted in the "
        "process that does them, so these families are complete, but at zero: they are there to build dashboards and "
        "alerts with. Only what a guard reads from its store at each scrape has its present value here too. The "
        "numbers of a running bot are where its process shows guard.metrics.text().",
        epilog="Exit code: 0, or 2 if the guard cannot be found.",
    )
    add_app_option(metrics)
    metrics.add_argument("--json", action="store_true", help="print one JSON list of families and nothing else")
    metrics.set_defaults(run=_metrics)
    return parser


def _demo(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    # Loaded here: `botguard --help` needs neither the guard nor its storage.
    from botguard.cli.demo import NotNew, run_demo, run_own

    look = {"as_json": options.json, "colour": not options.no_colour}
    if options.app is not None or options.script is not None:
        if options.app is None or options.script is None:
            parser.error("--app and --script belong together: your guard, and what to run on it")
        if options.database is not None or options.facts:
            parser.error("--database and --facts are for the shop bot; your guard has a storage of its own")
        return run_own(options.app, options.script, **look)
    try:
        return run_demo(options.database, facts=options.facts, **look)
    except NotNew as error:
        parser.error(str(error))


def _metrics(_: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from botguard.cli.metrics import run_metrics

    return run_metrics(load_guard(options.app), as_json=options.json)


def _version() -> str:
    try:
        return version("botguard")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
