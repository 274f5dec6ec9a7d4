"""FastAPI: the same as Starlette, which it is made of; see :mod:`botguard.integrations.starlette`."""

from __future__ import annotations

from botguard.integrations.installing import extra_missing

try:
    import fastapi  # noqa: F401 - so that its absence is told by the name that the host knows
except ModuleNotFoundError as missing:
    raise extra_missing(missing, "fastapi", "FastAPI 0.115", "fastapi") from None

from botguard.integrations.starlette import Identify, install

__all__ = ["Identify", "install"]
