"""A shop on Django, guarded: runs a day of requests, or the development server.

    python -m examples.shop_django            a day of requests, and whether the books are right after it
    python -m examples.shop_django --serve    the shop on port 8000; sign in at /admin/ as eve

The database is a SQLite file that is removed in the end, unless SHOP_DB names another, which is kept with --serve.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

import django
from django.core.management import call_command

PASSWORD = "open sesame"  # of the shop that is served


def main() -> int:
    """Run what the command line says; 1 if the books are wrong after the day."""
    parser = argparse.ArgumentParser(prog="python -m examples.shop_django")
    parser.add_argument("--serve", type=int, nargs="?", const=8000, metavar="PORT", help="serve the shop")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as folder:
        own = str(Path(folder) / "shop.db")
        os.environ["SHOP_DB"] = own if options.serve is None else os.environ.get("SHOP_DB", own)
        os.environ["DJANGO_SETTINGS_MODULE"] = "examples.shop_django.settings"
        django.setup()
        call_command("migrate", verbosity=0)
        try:
            return a_day() if options.serve is None else serve(options.serve)
        finally:
            django.db.connections.close_all()


def a_day() -> int:
    """The requests of a day, and the books after it."""
    from django.test.utils import setup_test_environment

    from examples.shop_django.books import faults
    from examples.shop_django.day import Day
    from examples.shop_django.seed import seed

    setup_test_environment()
    seed()
    logging.getLogger("django.request").disabled = True  # each answer is printed anyway
    Day().spend()
    found = faults()
    print("\nThe books are", "wrong:" if found else "right.")
    for fault in found:
        print(f"  {fault}")
    return 1 if found else 0


def serve(port: int) -> int:
    """Django's development server."""
    from examples.shop_django.seed import seed

    seed(PASSWORD)
    print(f"Sign in at /admin/ as eve; the password is {PASSWORD!r}", flush=True)
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, insecure_serving=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
