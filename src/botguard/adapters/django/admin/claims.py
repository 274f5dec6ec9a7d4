"""Claims whose effect nobody can know: a person finds out, and says so."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from botguard.adapters.django.admin.triage import Act, Operator, TriageAdmin, moment
from botguard.adapters.django.conf import current
from botguard.adapters.django.models import Claim
from botguard.command import make_command
from botguard.errors import ConfigurationError
from botguard.ports.idempotency import Ack, ClaimRequest, RowState
from botguard.runtime import new_id

__all__ = ["ClaimAdmin"]

_NOT_UNKNOWN = "its state is no longer unknown"
#: Seconds that a result is kept where its command says nothing else.
_KEEP = make_command("orders.create", {}).keep
#: Seconds that a row is ours between taking it over and giving it back.
_LEASE = 30.0


def _settle(row: Any, act: Act, operator: Operator) -> str | None:
    """It happened: later calls with this key are replays, without a value."""
    if row.state != RowState.UNKNOWN:
        return _NOT_UNKNOWN
    event = operator.event(row, act.name, key=row.key)
    claims = operator.stores.idempotency
    ack = claims.finish(row.key, row.claim_id, RowState.DONE, None, _keep(row.command), row.attempts, event)
    return None if ack is Ack.APPLIED else _NOT_UNKNOWN


def _release(row: Any, act: Act, operator: Operator) -> str | None:
    """It did not happen: the key is free, and a call with it runs."""
    if row.state != RowState.UNKNOWN:
        return _NOT_UNKNOWN
    ours = new_id()
    request = ClaimRequest(
        key=row.key, org=row.org, command=row.command, claim_id=ours, person=row.person, fingerprint=bytes(row.fingerprint),
        version=row.version, lease=_LEASE, takeover=False, supersede=row.claim_id,
    )  # fmt: skip
    claims = operator.stores.idempotency
    if not claims.claim(request, operator.event(row, act.name, key=row.key)).won:
        return _NOT_UNKNOWN
    claims.release(row.key, ours)
    return None


def _keep(command: str) -> float:
    """For how long the command's results are kept, where the guard is known."""
    try:
        found = current().guard().registry.get(command)
    except ConfigurationError:
        found = None
    return float(found.command.keep) if found is not None else _KEEP


class StateFilter(admin.SimpleListFilter):
    """Unknown ones first: the others need nobody."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> Any:
        """All states; nothing chosen means unknown."""
        return [("all", "All"), *((state.value, state.value.capitalize()) for state in RowState)]

    def choices(self, changelist: Any) -> Any:
        """Without Django's own *All*, which would be what nothing chosen means."""
        for value, title in self.lookup_choices:
            chosen = (self.value() or RowState.UNKNOWN.value) == value
            yield {
                "selected": chosen,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Rows of the chosen state."""
        value = self.value() or RowState.UNKNOWN.value
        return queryset.exclude(state="released") if value == "all" else queryset.filter(state=value)


@admin.register(Claim)
class ClaimAdmin(TriageAdmin):
    """Payloads and results are not shown: rows hold them as digests and sealed bytes."""

    acts = (
        Act(
            name="settle",
            label="The effect happened",
            question="These effects happened? Calls that are sent again will then be told so, and nothing runs.",
            carry_out=_settle,
        ),
        Act(
            name="release",
            label="The effect did not happen",
            question="These effects did not happen? Calls that are sent again will then run.",
            carry_out=_release,
        ),
    )
    list_display = ("command", "org", "person", "state", "attempts", "lease_end", "short_key")
    list_filter = (StateFilter,)
    search_fields = ("=key", "command", "org", "person")
    ordering = ("-seq",)
    fields = ("key", "org", "command", "state", "person", "attempts", "lease_end", "kept_until", "version", "event_id")
    readonly_fields = fields

    @admin.display(description="lease until")
    def lease_end(self, row: Any) -> Any:
        """When the owner's right to execute ended, or ends."""
        return moment(row.lease_until)

    @admin.display(description="kept until")
    def kept_until(self, row: Any) -> Any:
        """When the row may be purged."""
        return moment(row.expires_at)

    @admin.display(description="key")
    def short_key(self, row: Any) -> str:
        """Enough of the digest to tell rows apart."""
        return str(row.key)[:12]
