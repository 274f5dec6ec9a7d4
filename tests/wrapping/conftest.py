"""The guard that binds this folder's module-level handlers, once: a registry has one guard."""

from __future__ import annotations

import pytest

from botguard import Guard
from wrapping import handlers
from wrapping.setting import make_guard


@pytest.fixture(scope="session")
def handlers_guard() -> Guard:
    return make_guard(registry=handlers.REGISTRY)


@pytest.fixture
def guard() -> Guard:
    return make_guard()
