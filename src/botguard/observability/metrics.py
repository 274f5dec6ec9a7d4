"""What ``guard.metrics`` gives: the numbers as plain data, as text for a scrape, and in a registry of the host's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botguard.observability.meter import CommandMeter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

__all__ = ["Metrics"]


class Metrics:
    """The counts of one guard in this process. Every name exists at zero from the start.

    Counting is plain arithmetic; prometheus_client is imported when ``text``, ``collector`` or ``register`` is used.
    """

    #: The media type of ``text()``.
    CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, meter: CommandMeter) -> None:
        self._meter = meter

    def totals(self) -> dict[str, Any]:
        """Every command's numbers as plain data."""
        return self._meter.totals()

    def text(self) -> str:
        """This guard's families in the text format of Prometheus, to answer a scrape with."""
        from botguard.observability import exposition

        return exposition.text(self._meter)

    def collector(self) -> Collector:
        """A new prometheus_client collector of this guard alone, for a registry that has no other of ours."""
        from botguard.observability import exposition

        return exposition.MeterCollector([self._meter])

    def register(self, registry: CollectorRegistry | None = None) -> Collector:
        """Show this guard's families in a registry of prometheus_client's, by default its global one.

        It may be repeated, also after a module was imported again. Guards in one registry share one collector: what
        they count of the same command is added up, and what a guard has counted stays when the guard is gone, since a
        counter must not fall.

        Returns:
            The registry's collector, for ``registry.unregister``.

        Raises:
            ConfigurationError: if somebody else's metrics in the registry have our names.
        """
        from botguard.observability import exposition

        return exposition.register(self._meter, registry)
