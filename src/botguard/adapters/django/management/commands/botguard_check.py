"""``manage.py botguard_check``: is everything there that botguard needs, and does anything wait for a person?"""

from __future__ import annotations

import json
from typing import Any

from django.core.checks import ERROR, WARNING, CheckMessage, run_checks
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from django.utils.connection import ConnectionDoesNotExist

from botguard.adapters.django.checks import TAG
from botguard.adapters.django.conf import current
from botguard.adapters.django.models import Approval, Claim
from botguard.errors import ConfigurationError

__all__ = ["Command"]

_FINDINGS, _STORE_DOWN = 1, 3
_UNREACHABLE = "botguard.E008"


class Command(BaseCommand):
    """The system checks of botguard, those of the database too, and what waits."""

    help = (
        "Runs botguard's system checks, including those that ask the database, and counts what waits for a person. "
        "Exit code: 0 all is well, 1 findings, 3 the database cannot be reached."
    )
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """See Django."""
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django."""
        alias = _alias()
        found = [one for one in run_checks(tags=[TAG], databases=[alias]) if one.level >= WARNING]
        waiting = _waiting(alias)
        if options["json"]:
            listed = [{"id": one.id, "message": one.msg, "hint": one.hint} for one in found]
            self.stdout.write(json.dumps({"findings": listed, "waiting": waiting}))
        else:
            self._report(found, waiting)
        if any(one.id == _UNREACHABLE for one in found):
            raise CommandError("the database cannot be reached", returncode=_STORE_DOWN)
        if found:
            raise CommandError(f"{len(found)} findings", returncode=_FINDINGS)

    def _report(self, found: list[CheckMessage], waiting: dict[str, int]) -> None:
        for one in found:
            style = self.style.ERROR if one.level >= ERROR else self.style.WARNING
            self.stdout.write(style(f"{one.id}: {one.msg}"))
            if one.hint:
                self.stdout.write(f"  {one.hint}")
        if not found:
            self.stdout.write("botguard: no findings")
        for what, count in waiting.items():
            self.stdout.write(f"{what}: {count}")


def _alias() -> str:
    try:
        return current().DATABASE
    except ConfigurationError:
        return "default"  # the checks say what is wrong


def _waiting(alias: str) -> dict[str, int]:
    try:
        return {
            "unknown effects": Claim.objects.using(alias).filter(state="unknown").count(),
            "open requests": Approval.objects.using(alias).filter(state="open").count(),
        }
    except (DatabaseError, ConnectionDoesNotExist):
        return {}  # the checks say why
