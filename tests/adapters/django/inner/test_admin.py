"""The admin: what waits for a person is shown, acted on after a confirmation, by who may, and written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings

from adapters.django.inner.shop import bots
from adapters.django.inner.site import empty
from botguard import Actor, Context, Status
from botguard.adapters.django.models import Approval, Claim, Event

ANN = Context(org="acme", actor=Actor("ann", roles=("sales",)), channel="web")
CLAIMS, APPROVALS, EVENTS = (f"/admin/botguard/{name}/" for name in ("claim", "approval", "event"))


@pytest.fixture(autouse=True)
def site(made: Callable[[str], str]) -> Iterator[None]:
    empty(made("default"))
    User.objects.all().delete()
    LogEntry.objects.all().delete()
    with override_settings(BOTGUARD={"GUARD": "adapters.django.inner.shop.bots.guard"}):
        yield


def operator(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="x", is_staff=True)
    for codename in permissions:
        user.user_permissions.add(Permission.objects.get(codename=codename, content_type__app_label="botguard"))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, page: str, name: str, *rows: Any, confirmed: bool = True) -> Any:
    data = {"action": name, "_selected_action": [row.pk for row in rows]}
    if confirmed:
        data["confirmed"] = name
    return client.post(f"{page}?state=all", data, follow=True)


def said(answer: Any) -> str:
    return " ".join(str(message) for message in answer.context["messages"])


def unknown(sku: str = "tea") -> Claim:
    assert bots.guard.run("orders.send", {"sku": sku}, context=ANN).status is Status.FAILED
    return Claim.objects.get(state="unknown")


def waiting(sku: str = "tea") -> Approval:
    assert bots.guard.run("orders.cancel", {"sku": sku}, context=ANN).status is Status.PENDING
    return Approval.objects.get(state="open")


def test_rows_are_shown_and_nobody_edits_them() -> None:
    client = operator("eve", "view_claim", "view_event", "view_approval")
    claim, approval = unknown(), waiting()
    bots.guard.run("orders.create", {"sku": "tea"}, context=ANN)
    shown = client.get(CLAIMS).content.decode()
    assert "orders.send" in shown
    assert "orders.create" not in shown  # done: it needs nobody
    assert "orders.create" in client.get(f"{CLAIMS}?state=all").content.decode()
    request = client.get(APPROVALS).content.decode() + client.get(f"{APPROVALS}{approval.pk}/change/").content.decode()
    assert "Please confirm" in request
    assert approval.token not in request
    events = client.get(EVENTS).content.decode()
    assert events.count("orders.create") == 1
    event = Event.objects.latest("seq")
    assert event.id in client.get(f"{EVENTS}{event.pk}/change/").content.decode()
    for page, row in ((CLAIMS, claim), (APPROVALS, approval), (EVENTS, event)):
        assert client.get(f"{page}add/").status_code == 403
        assert client.post(f"{page}{row.pk}/change/", {"state": "done"}).status_code == 403
        assert client.post(f"{page}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "reconcile" not in client.get(f"{EVENTS}?status=denied").content.decode()


def test_an_act_asks_first_and_then_leaves_a_record() -> None:
    client, row = operator("eve", "view_claim", "settle_claim"), unknown()
    asked = act(client, CLAIMS, "settle", row, confirmed=False)
    assert "These effects happened?" in asked.content.decode()
    assert Claim.objects.get().state == "unknown"
    assert LogEntry.objects.count() == 0
    done = act(client, CLAIMS, "settle", row)
    assert "1 done" in said(done)
    assert Claim.objects.get().state == "done"
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("eve", str(row.pk))
    assert "settle" in entry.change_message
    event = Event.objects.latest("seq")
    assert (event.kind, event.status, event.command, event.person) == (
        "operator",
        "settle",
        "orders.send",
        min("eve", entry.user_id and str(entry.user_id)),
    )
    replay = bots.guard.run("orders.send", {"sku": "tea"}, context=ANN)
    assert (replay.status, replay.replayed) == (Status.SUCCEEDED, True)


def test_what_is_said_to_have_happened_is_kept_as_long_as_the_command_says() -> None:
    client, row = operator("eve", "view_claim", "settle_claim"), unknown()
    act(client, CLAIMS, "settle", row)
    found = Claim.objects.get()
    assert 3590 < (found.expires_at - row.lease_until) / 1e6 + 90 < 3600 + 90  # keep=3600, and its lease was 60 + 30 s


def test_an_effect_that_did_not_happen_may_be_tried_again() -> None:
    client, row = operator("eve", "view_claim", "release_claim"), unknown()
    assert bots.guard.run("orders.send", {"sku": "tea"}, context=ANN).status is Status.UNKNOWN
    assert "1 done" in said(act(client, CLAIMS, "release", row))
    assert Claim.objects.get().state == "released"
    assert "orders.send" not in client.get(f"{CLAIMS}?state=all").content.decode()
    assert bots.guard.run("orders.send", {"sku": "tea"}, context=ANN).status is Status.FAILED  # it ran


def test_two_operators_cannot_both_decide() -> None:
    client, row = operator("eve", "view_claim", "settle_claim", "release_claim"), unknown()
    act(client, CLAIMS, "settle", row)
    for name in ("settle", "release"):
        assert "no longer unknown" in said(act(client, CLAIMS, name, row))
    assert Claim.objects.get().state == "done"
    assert LogEntry.objects.count() == 1


def test_each_act_has_a_permission_of_its_own() -> None:
    client, row = operator("eve", "view_claim", "release_claim"), unknown()
    page = client.get(CLAIMS).content.decode()
    assert 'value="release"' in page
    assert 'value="settle"' not in page
    detail = client.get(f"{CLAIMS}{row.pk}/change/").content.decode()
    assert re.findall(r'name="action" value="(\w+)"', detail) == ["release"]
    act(client, CLAIMS, "settle", row)
    assert Claim.objects.get().state == "unknown"
    assert operator("bob").get(CLAIMS).status_code == 403


def test_a_request_is_approved_by_somebody_else_and_then_carried_out() -> None:
    client, row = operator("eve", "view_approval", "approve_approval"), waiting()
    assert "Approve these requests?" in act(client, APPROVALS, "approve", row, confirmed=False).content.decode()
    assert "1 done" in said(act(client, APPROVALS, "approve", row))
    assert Event.objects.latest("seq").status == "approve"
    assert LogEntry.objects.count() == 1
    assert bots.guard.run("orders.cancel", {"sku": "tea"}, context=ANN).value == "cancelled tea"
    assert "answered already" in said(act(client, APPROVALS, "approve", row))


def test_nobody_approves_what_he_has_asked_for() -> None:
    row = waiting()
    client = operator("ann", "view_approval", "approve_approval", "decline_approval")
    assert "asked for this yourself" in said(act(client, APPROVALS, "approve", row))
    assert Approval.objects.get().state == "open"
    settings = {
        "GUARD": "adapters.django.inner.shop.bots.guard",
        "PERSON": "adapters.django.inner.test_admin.same_person",
    }
    with override_settings(BOTGUARD=settings):
        other = operator("eve", "view_approval", "approve_approval")
        assert "asked for this yourself" in said(act(other, APPROVALS, "approve", row))
    assert "1 done" in said(act(client, APPROVALS, "decline", row))
    assert bots.guard.run("orders.cancel", {"sku": "tea"}, context=ANN).reasons == ("confirmation_declined",)


def same_person(user: Any) -> str:
    """For hosts where one person has two accounts."""
    return "ann"


def test_an_act_and_its_record_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    client, row = operator("eve", "view_approval", "approve_approval"), waiting()
    client.raise_request_exception = False
    monkeypatch.setattr(LogEntry, "save", lambda *args, **kwargs: 1 / 0)
    monkeypatch.setattr(type(LogEntry.objects), "log_actions", lambda *args, **kwargs: 1 / 0)
    assert act(client, APPROVALS, "approve", row).status_code == 500
    assert Approval.objects.get().state == "open"
    assert not Event.objects.filter(kind="operator").exists()


def test_many_rows_are_refused_rather_than_confirmed_unseen() -> None:
    client = operator("eve", "view_claim", "settle_claim")
    row = unknown()
    copies = [Claim(**{**_values(row), "key": f"k{n}", "claim_id": f"c{n}"}) for n in range(100)]
    Claim.objects.bulk_create(copies)
    assert "at most 100" in said(act(client, CLAIMS, "settle", *Claim.objects.all()))
    assert not Claim.objects.filter(state="done").exists()


def _values(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in row._meta.fields if field.name != "seq"}
