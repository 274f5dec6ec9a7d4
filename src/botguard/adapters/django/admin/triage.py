"""What all pages share: rows are read, and changed only by acts that ask for a confirmation and leave a record.

A page lists its acts; the list, the detail page, permissions, confirmation, LogEntry and message follow from that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_permission_codename
from django.db import transaction
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html

from botguard.adapters.django.conf import current
from botguard.adapters.django.spelling import MICRO
from botguard.adapters.django.storage import DjangoStorage
from botguard.errors import StoreUnavailable
from botguard.ports.events import Event
from botguard.runtime import SystemClock, new_id

__all__ = ["Act", "Operator", "TriageAdmin", "moment"]

#: Rows that one act may change: an operator should see all that he confirms.
_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that operators do with rows.

    Args:
        name: of the action, of its permission (``<name>_<model>``) and of the event's status.
        label: what the list of actions and the button say.
        question: what the confirmation page asks.
        carry_out: does it to one row, by the stores that it is given, inside a transaction. Returns None, or why it was
            not done.
    """

    name: str
    label: str
    question: str
    carry_out: Callable[[Any, Act, Operator], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who acts, and by which stores.

    Args:
        id: primary key of the User, as text.
        persons: whom he is known as among requesters.
        stores: all of them inside the present transaction.
    """

    id: str
    persons: frozenset[str]
    stores: Any

    @classmethod
    def of(cls, request: HttpRequest, storage: DjangoStorage) -> Operator:
        """The signed-in user."""
        user = request.user
        person = current().load("PERSON")
        known = {str(person(user))} if person is not None else {str(user.pk), user.get_username()}
        return cls(id=str(user.pk), persons=frozenset(known), stores=storage.inside())

    def event(self, row: Any, act: str, *, key: str) -> Event:
        """The record of an act."""
        return Event(
            id=new_id(), kind="operator", at=SystemClock.time(), org=row.org, actor=self.id, person=min(self.persons),
            channel="admin", command=row.command, status=act, reasons="", attempts=0, duration_ms=0.0, success=True,
            replayed=False, degraded=False, key=key, shadow="", policy_digest="", correlation_id="",
        )  # fmt: skip


class TriageAdmin(admin.ModelAdmin):
    """A page whose rows nobody edits."""

    acts: ClassVar[tuple[Act, ...]] = ()
    change_form_template = "admin/botguard/triage_change_form.html"
    list_per_page = 50
    show_full_result_count = False  # counting a long trail costs more than showing it

    def __init__(self, model: Any, admin_site: Any) -> None:
        super().__init__(model, admin_site)
        self.actions = [self._action(act) for act in self.acts]
        for act in self.acts:  # where Django looks for what `allowed_permissions` names
            setattr(self, f"has_{act.name}_permission", partial(self.may, act=act))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: rows are made by guarded calls."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: see :attr:`acts`."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: ``botguard_purge`` takes away what is over."""
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        """Of the database that the storage uses."""
        return super().get_queryset(request).using(current().DATABASE)

    def may(self, request: HttpRequest, act: Act) -> bool:
        """Each act has a permission of its own."""
        codename = get_permission_codename(act.name, self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        """The row, with a button for each act."""
        acts = [act for act in self.acts if self.may(request, act)]
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "acts": acts})

    def _action(self, act: Act) -> Any:
        def action(_: Any, request: HttpRequest, queryset: Any) -> Any:
            rows = list(queryset[: _MOST + 1])
            if len(rows) > _MOST:
                self.message_user(request, f"Choose at most {_MOST} at a time.", messages.ERROR)
                return None
            if request.POST.get("confirmed") != act.name:
                return self._ask(request, act, rows)
            self._carry_out(request, act, rows)
            return None

        named: Any = action
        named.__name__, named.short_description, named.allowed_permissions = act.name, act.label, (act.name,)
        return named

    def _ask(self, request: HttpRequest, act: Act, rows: list[Any]) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": act.label,
            "act": act,
            "rows": rows,
            "opts": self.opts,
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/botguard/confirm_act.html", context)

    def _carry_out(self, request: HttpRequest, act: Act, rows: list[Any]) -> None:
        storage = DjangoStorage(current().DATABASE)
        operator, done = Operator.of(request, storage), 0
        for row in rows:
            try:
                with transaction.atomic(using=storage.alias):  # the act, its event and its LogEntry, or nothing
                    refused = act.carry_out(row, act, operator)
                    if refused is None:
                        self.log_change(request, row, f"{act.label} (botguard: {act.name})")
            except StoreUnavailable as error:
                refused = str(error)
            if refused is None:
                done += 1
            else:
                self.message_user(request, format_html("{}: {}", row, refused), messages.WARNING)
        if done:
            self.message_user(request, f"{act.label}: {done} done.", messages.SUCCESS)


def moment(micros: int | None) -> dt.datetime | None:
    """A stored time for people; the admin shows it in the current time zone."""
    return None if micros is None else dt.datetime.fromtimestamp(micros / MICRO, dt.UTC)
