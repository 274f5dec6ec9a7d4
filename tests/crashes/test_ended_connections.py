"""The server ends a bot's connections while its handler works outside: the completion is stored all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crashes.places import Outside, a_place
from crashes.shop import Shop


@pytest.mark.parametrize("kind", ["idempotent", "external", "external_async"])
@pytest.mark.parametrize("place", ["postgresql", "mariadb"])
def test_a_completion_survives_connections_that_ended_meanwhile(tmp_path: Path, place: str, kind: str) -> None:
    with a_place(place, tmp_path) as where:
        outside, backends = Outside(where), []

        def tell(at: str, *about: Any) -> None:
            if at == "backend":
                backends.append(about[0])
            if at == "did":
                for backend in backends:
                    outside.terminate(backend)

        shop = Shop(where, 60.0, tell)
        try:
            outcome = shop.deliver(f"{kind}-1")
            assert backends
            assert (outcome.ok, outcome.degraded, outcome.reasons) == (True, False, ())
            again = shop.deliver(f"{kind}-1")
            assert (again.replayed, again.value) == (True, outcome.value)
        finally:
            shop.close()
            outside.close()
