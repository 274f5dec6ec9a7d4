"""``manage.py botguard_demo --script day.jsonl``: what ``botguard demo --app … --script …`` does, on the project's guard."""

from __future__ import annotations

from contextlib import redirect_stdout
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from botguard.adapters.django.conf import current
from botguard.cli.demo import run_own
from botguard.errors import ConfigurationError

__all__ = ["Command"]


class Command(BaseCommand):
    """On ``BOTGUARD["GUARD"]``, which must be a dotted path here."""

    help = (
        "Runs the lines of a script on your guard, and says what became of each. It does what the script says, in your "
        "database. Exit code: 0 if all was as expected, 1 if not, 2 if the script cannot be read, 3 if the database cannot "
        "be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """See Django."""
        parser.add_argument("--script", required=True, metavar="FILE", help="what to run: one JSON object a line")
        parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django."""
        try:
            current().guard()
            module, _, name = str(current().GUARD).replace(":", ".").rpartition(".")
            with redirect_stdout(self.stdout):
                colour = not options["no_color"] and self.stdout.isatty()
                code = run_own(f"{module}:{name}", options["script"], as_json=options["json"], colour=colour)
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=2) from error
        if code:
            raise CommandError("not everything was as expected", returncode=code)
