"""The app: what Django reads of it."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_finished

from botguard.adapters.django.places import close_side_connections

__all__ = ["BotguardConfig"]


class BotguardConfig(AppConfig):
    """``INSTALLED_APPS = [..., "botguard.adapters.django"]``."""

    name = "botguard.adapters.django"
    label = "botguard"
    verbose_name = "botguard"
    #: Written down, so that a host's DEFAULT_AUTO_FIELD never makes a migration of ours.
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect to the end of requests."""
        request_finished.connect(close_side_connections, dispatch_uid="botguard.side_connections")
