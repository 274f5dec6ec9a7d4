"""What ``install`` is given, checked where it is given; and the answer where a framework is not installed."""

from __future__ import annotations

from typing import Any

from botguard.errors import ConfigurationError, ExtraMissing
from botguard.guard import Guard

__all__ = ["check_given", "extra_missing", "installed_twice", "started_already", "wrong_app"]


def extra_missing(error: ModuleNotFoundError, module: str, library: str, extra: str) -> ImportError:
    """The error to raise where a framework cannot be imported; ``library`` is its name with the lowest version.

    Something else that the framework itself lacks stays its own error.
    """
    if error.name != library.split(maxsplit=1)[0].lower():
        return error
    what = f"botguard.integrations.{module} needs {library} or newer, which is not installed"
    return ExtraMissing(what, extra, error.name)


def check_given(guard: Any, identify: Any, metrics: Any = None) -> None:
    """The guard, the function that says who asks, and the path of the metrics, if there is to be one.

    Raises:
        ConfigurationError: for anything else.
    """
    if not isinstance(guard, Guard):
        raise ConfigurationError(
            "BG241",
            f"install() was given {guard!r:.60} as guard",
            why="nothing would be guarded",
            fix="install(app, guard, identify=…), where guard = Guard(…)",
        )
    if not callable(identify):
        raise ConfigurationError(
            "BG242",
            f"identify={identify!r:.60} is not a function",
            why="nobody could say who asks",
            fix="give a function that returns Context(org=…, actor=Actor(…)), or None for a stranger",
        )
    if metrics is not None and not (isinstance(metrics, str) and metrics.startswith("/")):
        raise ConfigurationError(
            "BG246",
            f"metrics={metrics!r:.60} is no path",
            why="Prometheus would find nothing there",
            fix='write metrics="/metrics", or leave it out',
        )


def wrong_app(app: Any, wanted: str, fix: str) -> ConfigurationError:
    """For an application of another framework, or a part of one."""
    return ConfigurationError(
        "BG240",
        f"install() was given a {type(app).__module__}.{type(app).__qualname__}, which is no {wanted}",
        why="no request would reach botguard",
        fix=fix,
    )


def installed_twice(what: str) -> ConfigurationError:
    """For a second ``install`` on the same application."""
    return ConfigurationError(
        "BG243",
        f"botguard is installed in this {what} already",
        why="two functions would say who asks, and only one would be heard",
        fix="call install() once; its Context holds for every guard",
    )


def started_already(what: str) -> ConfigurationError:
    """For an ``install`` after the first request."""
    return ConfigurationError(
        "BG244",
        f"this {what} has started already",
        why="requests before this one went in without a Context",
        fix="call install() where the application is made",
    )
