"""``manage.py botguard_metrics``: what ``botguard metrics`` prints, of the project's guard."""

from __future__ import annotations

from contextlib import redirect_stdout
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from botguard.adapters.django.conf import current
from botguard.cli.metrics import run_metrics
from botguard.errors import ConfigurationError

__all__ = ["Command"]


class Command(BaseCommand):
    """Of ``BOTGUARD["GUARD"]``."""

    help = (
        "Prints the metrics of the guard in the text format of Prometheus. Runs are counted in the process that does them, "
        "so these families are complete, but at zero: they are there to build dashboards and alerts with. The numbers of a "
        "running site are where it shows botguard.integrations.django.metrics."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """See Django."""
        parser.add_argument("--json", action="store_true", help="print one JSON list of families and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """See Django."""
        try:
            guard = current().guard()
        except ConfigurationError as error:
            raise CommandError(str(error), returncode=2) from error
        with redirect_stdout(self.stdout):
            run_metrics(guard, as_json=options["json"])
