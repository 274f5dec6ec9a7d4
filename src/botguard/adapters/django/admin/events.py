"""The audit trail, to be read."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin

from botguard.adapters.django.admin.triage import TriageAdmin
from botguard.adapters.django.models import Event
from botguard.outcome import Status

__all__ = ["EventAdmin"]


class StatusFilter(admin.SimpleListFilter):
    """By outcome; the choices are the closed list, since asking a long trail for its values would read all of it."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: Any, model_admin: Any) -> Any:
        """Every status."""
        return [(status.value, status.value) for status in Status]

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Rows of the chosen status."""
        return queryset.filter(status=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(TriageAdmin):
    """Nothing can be done here."""

    list_display = ("when", "status", "command", "org", "actor", "channel", "reasons", "attempts", "duration_ms")
    list_filter = (StatusFilter,)
    search_fields = ("=key", "=correlation_id", "=id", "command", "org", "actor", "person")
    ordering = ("-seq",)
    fields = (
        "when", "id", "kind", "status", "reasons", "command", "org", "actor", "person", "channel", "attempts",
        "duration_ms", "success", "replayed", "degraded", "count", "key", "shadow", "policy_digest", "correlation_id",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="when", ordering="at")
    def when(self, row: Any) -> dt.datetime:
        """When it was decided or had ended."""
        return dt.datetime.fromtimestamp(row.at, dt.UTC)
