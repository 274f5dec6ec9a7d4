"""Says which extra is missing, before an import fails somewhere inside."""

from __future__ import annotations

from botguard.errors import ExtraMissing

__all__ = ["require_django"]

_FLOOR = (5, 2)


def require_django() -> None:
    """Raise ImportError, with the command that helps, unless a Django that we know is installed."""
    try:
        import django
    except ModuleNotFoundError as error:
        if error.name != "django":
            raise
        raise ExtraMissing(
            "botguard.adapters.django needs Django 5.2 or newer, which is not installed", "django", "django"
        ) from error
    if django.VERSION[:2] < _FLOOR:
        found = django.get_version()
        raise ExtraMissing(
            f"botguard.adapters.django needs Django 5.2 or newer, and {found} is installed", "django", "django"
        )
