"""A Sentry whose post goes into a list: nothing leaves the process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.transport import Transport


class Outbox(Transport):
    """What the SDK would have sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, dict[str, Any]]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        for item in envelope.items:
            self.items.append((str(item.headers.get("type")), json.loads(item.get_bytes())))

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return [payload for kind, payload in self.items if kind == "transaction"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [payload for kind, payload in self.items if kind == "event"]

    @property
    def streamed(self) -> list[dict[str, Any]]:
        sentry_sdk.flush()
        return [span for kind, payload in self.items if kind == "span" for span in payload["items"]]


@contextmanager
def listening(**options: Any) -> Iterator[Outbox]:
    """Sentry, initialised for the block. Its own integrations are left out: they would patch the whole process."""
    outbox = Outbox()
    options = {"traces_sample_rate": 1.0, "integrations": [DedupeIntegration()], **options}
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        sentry_sdk.init(transport=outbox, default_integrations=False, auto_enabling_integrations=False, **options)
        try:
            yield outbox
        finally:
            end(sentry_sdk.get_client())


def end(client: Any) -> None:
    """Close a client and its threads: one that lives on draws from the random numbers of later tests."""
    sentry_sdk.Scope.get_global_scope().set_client(None)
    if client.is_active():
        client.close(timeout=0)
