"""Prometheus families, made from the meters' numbers at each scrape and at no other time.

Loaded when somebody asks for an exposition: prometheus_client is not needed before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from botguard.errors import ConfigurationError
from botguard.observability.meter import BUCKETS, CommandMeter, Numbers
from botguard.ports.telemetry import LATENCY_BOUNDS, JobNumbers

__all__ = ["MeterCollector", "register", "text"]

_COMMAND = ("command", "module")
#: Where a registry keeps our one collector. On the registry itself, so that it lives exactly as long, and is found
#: again by a botguard that was loaded anew.
_SHARED = "_botguard_collector"
_registering = threading.Lock()


class MeterCollector(Collector):
    """The families of one guard, or of several: what they count of the same command is added up."""

    def __init__(self, meters: Iterable[CommandMeter] = ()) -> None:
        self._meters = tuple(meters)

    def add(self, meter: CommandMeter) -> None:
        """Count this meter too; a second time changes nothing."""
        if meter not in self._meters:
            self._meters = (*self._meters, meter)

    def describe(self) -> Iterable[Metric]:
        """The families without a sample: a registry refuses a second collector with the same names."""
        return MeterCollector().collect()

    def collect(self) -> Iterator[Metric]:
        """All families, read now."""
        found: dict[tuple[str, str], Numbers] = {}
        for meter in self._meters:
            for command, series in meter.series.copy().items():
                numbers, known = series.read(), found.get((command, series.module))
                found[command, series.module] = numbers if known is None else known.plus(numbers)
        yield from _commands(found)
        yield from _aliases(found)
        yield _durations(found)
        # Guards that share a store ask it once, and do not show its jobs twice.
        yield from _jobs({meter.jobs: None for meter in self._meters if meter.jobs is not None})


def text(meter: CommandMeter) -> str:
    """One guard's families in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(MeterCollector([meter]))
    return generate_latest(registry).decode()


def register(meter: CommandMeter, registry: CollectorRegistry | None = None) -> MeterCollector:
    """Add a meter to the one collector that its registry has of ours.

    Raises:
        ConfigurationError: if the registry has metrics of our names already.
    """
    registry = REGISTRY if registry is None else registry
    with _registering:
        known = getattr(registry, _SHARED, None)
        shared: Any = MeterCollector() if known is None else known
        try:
            registry.register(shared)
        except ValueError as error:
            if known is None:
                raise ConfigurationError(
                    "BG190",
                    f"the registry has metrics of our names already ({error})",
                    where="guard.metrics.register()",
                    why="no name may appear twice in one exposition",
                    fix="take the other ones out (collectors of other guards too: register() merges guards by itself), "
                    "or give a registry of its own: register(CollectorRegistry())",
                ) from error
        shared.add(meter)
        setattr(registry, _SHARED, shared)
    return shared  # type: ignore[no-any-return]


def _commands(found: dict[tuple[str, str], Numbers]) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        "bot_commands", "Finished runs of a command by status, replays included.", labels=(*_COMMAND, "status")
    )
    failures = CounterMetricFamily(
        "bot_command_failures", "Runs that ended failed, unknown or unavailable; no business refusals.", labels=_COMMAND
    )
    retries = CounterMetricFamily(
        "bot_command_retries", "Calls of a handler after the first of its run.", labels=_COMMAND
    )
    replays = CounterMetricFamily(
        "bot_command_replays", "Runs that were answered with the stored result of an earlier one.", labels=_COMMAND
    )
    degraded = CounterMetricFamily(
        "bot_command_degraded", "Runs that used a declared fallback because a part was down.", labels=_COMMAND
    )
    for labels, numbers in found.items():
        for status, count in numbers.statuses.items():
            runs.add_metric((*labels, status.value), count)
        failures.add_metric(labels, numbers.failures)
        retries.add_metric(labels, numbers.retries)
        replays.add_metric(labels, numbers.replayed)
        degraded.add_metric(labels, numbers.degraded)
    return iter((runs, failures, retries, replays, degraded))


def _aliases(found: dict[tuple[str, str], Numbers]) -> Iterator[Metric]:
    """The two names that are fixed but not those of counters: untyped, so that linters accept them."""
    runs = UntypedMetricFamily(
        "bot_command_count", "The same as the sum of bot_commands_total over module and status.", labels=("command",)
    )
    failed = UntypedMetricFamily(
        "bot_failed_command", "The same as the sum of bot_command_failures_total over module.", labels=("command",)
    )
    by_command: dict[str, Numbers] = {}
    for (command, _), numbers in found.items():
        known = by_command.get(command)
        by_command[command] = numbers if known is None else known.plus(numbers)
    for command, numbers in by_command.items():
        runs.add_metric((command,), numbers.runs)
        failed.add_metric((command,), numbers.failures)
    return iter((runs, failed))


def _durations(found: dict[tuple[str, str], Numbers]) -> Metric:
    family = HistogramMetricFamily(
        "bot_command_duration_seconds", "How long runs took, from the door to the outcome.", labels=_COMMAND
    )
    for labels, numbers in found.items():
        family.add_metric(labels, _cumulated(BUCKETS, numbers.buckets), numbers.seconds)
    return family


def _jobs(sources: Iterable[Any]) -> Iterator[Metric]:
    """What the stores say of their jobs now; nothing at all, rather than an old number, where one cannot say."""
    success = GaugeMetricFamily("bot_store_scrape_success", "1 if the jobs could be read from the store, else 0.")
    try:
        numbers = [source() for source in sources] or [JobNumbers()]
    except Exception:  # noqa: BLE001 - a store that is down must not take the other metrics along
        success.add_metric((), 0)
        yield success
        return
    success.add_metric((), 1)
    yield success
    for name, text_, values in (
        ("bot_jobs_queued", "Jobs that wait to be started.", [one.queued for one in numbers]),
        ("bot_jobs_processing", "Jobs that a worker is at.", [one.processing for one in numbers]),
        ("bot_jobs_failed", "Jobs that ended as dead letters and are not dealt with.", [one.failed for one in numbers]),
    ):
        yield GaugeMetricFamily(name, f"{text_} A fact of the store: max over targets, not sum.", value=sum(values))
    latencies = [sum(counts) for counts in zip(*(one.latencies for one in numbers), strict=True)]
    yield HistogramMetricFamily(
        "bot_job_latency_seconds",
        "Finished jobs by the time from due to done. A fact of the store: max over targets, not sum.",
        buckets=_cumulated(LATENCY_BOUNDS, latencies),
        sum_value=sum(one.latency_seconds for one in numbers),
    )


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Counts per bucket, as Prometheus wants them: upper bound and all that is not above it."""
    return list(zip([*map(floatToGoString, bounds), "+Inf"], accumulate(counts), strict=True))
