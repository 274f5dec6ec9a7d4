"""Celery: a check for start-up. A guarded function needs nothing else to be a task: ``@app.task`` goes above ours."""

from __future__ import annotations

from typing import Any

from botguard.command import Declaration
from botguard.errors import ConfigurationError
from botguard.integrations.installing import extra_missing

try:
    from celery import Celery  # type: ignore[import-untyped]  # it ships no types
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "celery", "Celery 5.4", "celery") from None

__all__ = ["check_tasks"]


def check_tasks(app: Celery) -> None:
    """Look at the tasks of an app once all of them are defined, for instance in a test or before the worker starts.

    What it cannot see: a task that calls a guarded function, or ``self.retry()``, somewhere in its body.

    Raises:
        ConfigurationError: BG125, for a task that Celery repeats by itself (``autoretry_for``) around a command that the
            guard retries too.
    """
    for task in app.tasks.values():
        declaration: Declaration | None = getattr(task.run, "__botguard__", None)
        errors: Any = getattr(task, "autoretry_for", None)
        if declaration is None or not errors or declaration.command.retry is None:
            continue
        retry, most = declaration.command.retry, task.max_retries
        calls = "calls without end" if most is None else f"up to {retry.attempts * (most + 1)} calls"
        raise ConfigurationError(
            "BG125",
            f"it has two retry owners: the guard calls up to {retry.attempts} times, and Celery repeats all of that "
            f"({calls})",
            where=f"{declaration.command.name} {declaration.where}",
            why="the attempts multiply, and Celery's know nothing of the deadline",
            fix="drop autoretry_for= from the task, or retry= from the command",
        )
