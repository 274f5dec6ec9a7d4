"""Says which extra is missing, before an import fails somewhere inside."""

from __future__ import annotations

from botguard.errors import ExtraMissing

__all__ = ["require_greenlet", "require_sqlalchemy"]

_FLOOR = (2, 0, 43)


def require_sqlalchemy() -> None:
    """Raise ExtraMissing, with the command that helps, unless a SQLAlchemy that we know is installed."""
    needs = "botguard.adapters.sqlalchemy needs SQLAlchemy 2.0.43 or newer"
    try:
        import sqlalchemy
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise ExtraMissing(f"{needs}, which is not installed", "sqlalchemy", error.name) from error
    found = sqlalchemy.__version__
    if tuple(int(part) for part in found.split(".")[:3] if part.isdecimal()) < _FLOOR[: found.count(".") + 1]:
        raise ExtraMissing(f"{needs}, and {found} is installed", "sqlalchemy", "sqlalchemy")


def require_greenlet() -> None:
    """Raise ExtraMissing unless async sessions can work."""
    try:
        import greenlet  # type: ignore[import-untyped]  # noqa: F401 - only to see that it is there
    except ImportError as error:
        what = "AsyncSqlAlchemyStorage needs greenlet, which SQLAlchemy 2.1 no longer installs by itself"
        raise ExtraMissing(what, "sqlalchemy", "greenlet") from error
