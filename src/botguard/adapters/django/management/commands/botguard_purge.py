"""``manage.py botguard_purge``: take away what is over."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from botguard.adapters.django.storage import DjangoStorage
from botguard.errors import StoreUnavailable

__all__ = ["Command"]

_STORE_DOWN = 3


class Command(BaseCommand):
    """Run it now and then, as from cron."""

    help = (
        "Deletes settled claims past their lifetime, and requests that have been over for a day. Claims that run or are "
        "unknown are never deleted, and events neither. Exit code: 0, or 3 if the database cannot be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """See Django."""
        parser.add_argument("--dry-run", action="store_true", help="only say how many rows would be deleted")
        parser.add_argument("--limit", type=_positive, help="delete at most so many rows of each kind (default: all)")
        parser.add_argument("--batch", type=_positive, default=1000, help="rows in one transaction (default: 1000)")
        parser.add_argument("--database", help="alias of the database (default: BOTGUARD['DATABASE'])")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django."""
        storage = DjangoStorage(options["database"])
        stores: dict[str, Any] = {"claims": storage.idempotency, "approvals": storage.approvals}
        try:
            if options["dry_run"]:
                gone = {name: int(store.overdue(options["limit"] or 2**31)) for name, store in stores.items()}
            else:
                gone = {name: _purge(store, options["limit"], options["batch"]) for name, store in stores.items()}
        except StoreUnavailable as error:
            raise CommandError(str(error), returncode=_STORE_DOWN) from error
        if options["json"]:
            self.stdout.write(json.dumps({**gone, "dry_run": options["dry_run"]}))
            return
        verb = "would be deleted" if options["dry_run"] else "deleted"
        for name, count in gone.items():
            self.stdout.write(f"{name}: {count} {verb}")


def _purge(store: Any, limit: int | None, batch: int) -> int:
    gone = 0
    while limit is None or gone < limit:
        wanted = batch if limit is None else min(batch, limit - gone)
        deleted = int(store.purge(wanted))
        gone += deleted
        if deleted < wanted:
            break
    return gone


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
