"""Requests that wait for an answer."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from botguard.adapters.django.admin.triage import Act, Operator, TriageAdmin, moment
from botguard.adapters.django.models import Approval
from botguard.ports.approvals import ApprovalState

__all__ = ["ApprovalAdmin"]


def _answer(row: Any, act: Act, operator: Operator, state: ApprovalState) -> str | None:
    if not operator.stores.approvals.answer(row.token, state):
        return "it is answered already, or its time is over"
    operator.stores.events.append(operator.event(row, act.name, key=row.key))
    return None


def _approve(row: Any, act: Act, operator: Operator) -> str | None:
    if row.person in operator.persons:
        return "you have asked for this yourself; somebody else must approve it"
    return _answer(row, act, operator, ApprovalState.APPROVED)


def _decline(row: Any, act: Act, operator: Operator) -> str | None:
    return _answer(row, act, operator, ApprovalState.DECLINED)


class OpenFilter(admin.SimpleListFilter):
    """Open ones first."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> Any:
        """The stored states; whether time is over shows in the column."""
        return [("all", "All"), ("open", "Open"), ("approved", "Approved"), ("declined", "Declined")]

    def choices(self, changelist: Any) -> Any:
        """Without Django's own *All*, which would be what nothing chosen means."""
        for value, title in self.lookup_choices:
            yield {
                "selected": (self.value() or "open") == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: Any, queryset: Any) -> Any:
        """Rows of the chosen state."""
        value = self.value() or "open"
        return queryset if value == "all" else queryset.filter(state=value)


@admin.register(Approval)
class ApprovalAdmin(TriageAdmin):
    """The token is not shown, since whoever has it can answer; nor the payload, of which ``text`` says what was shown."""

    acts = (
        Act(
            name="approve",
            label="Approve",
            question="Approve these requests? Each is then carried out when its requester's call comes again.",
            carry_out=_approve,
        ),
        Act(name="decline", label="Decline", question="Decline these requests?", carry_out=_decline),
    )
    list_display = ("text", "command", "org", "person", "state", "until")
    list_filter = (OpenFilter,)
    search_fields = ("command", "org", "person", "text")
    ordering = ("expires_at",)
    fields = ("text", "command", "org", "person", "actor", "channel", "reasons", "state", "until", "is_spent")
    readonly_fields = fields

    @admin.display(description="until", ordering="expires_at")
    def until(self, row: Any) -> Any:
        """When the time to answer is over."""
        return moment(row.expires_at)

    @admin.display(description="used", boolean=True)
    def is_spent(self, row: Any) -> bool:
        """Whether the approval was used for its call."""
        return bool(row.spent_on)
