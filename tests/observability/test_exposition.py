"""What a scrape reads: the fixed names at zero from the start, valid in every format, safe against a second guard."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from botguard import ALLOW_ALL, ConfigurationError, Guard, Rejected, Retry
from botguard.adapters.memory import MemoryStorage
from botguard.errors import StoreUnavailable
from botguard.observability.metrics import Metrics
from botguard.outcome import Status
from botguard.ports.telemetry import LATENCY_BOUNDS, JobNumbers
from core.support import Boom, Desk

FIXED = {
    "bot_jobs_queued": "gauge",
    "bot_jobs_processing": "gauge",
    "bot_jobs_failed": "gauge",
    "bot_job_latency_seconds": "histogram",
    "bot_command_count": "untyped",
    "bot_failed_command": "untyped",
}
OWN = {
    "bot_commands_total": "counter",
    "bot_command_failures_total": "counter",
    "bot_command_retries_total": "counter",
    "bot_command_replays_total": "counter",
    "bot_command_degraded_total": "counter",
    "bot_command_duration_seconds": "histogram",
    "bot_store_scrape_success": "gauge",
}


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a text exposition, by prometheus_client's own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = (sample.name, tuple(sorted(sample.labels.items())))
            assert name not in found, f"twice: {name}"
            found[name] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, tuple(sorted(labels.items()))]


def guard(**options: Any) -> Guard:
    return Guard(storage=MemoryStorage(), access=ALLOW_ALL, **options)


# ── what is there ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_name_is_there_at_zero_before_the_first_call() -> None:
    desk = Desk().command(module="orders")
    text = desk.guard.metrics.text()
    assert dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)) == FIXED | OWN
    found = samples(text)
    assert {number for (name, _), number in found.items() if name != "bot_store_scrape_success"} == {0.0}
    for status in Status:
        assert value(text, "bot_commands_total", command="orders.create", module="orders", status=str(status)) == 0.0
    for name in ("bot_command_failures_total", "bot_command_retries_total", "bot_command_duration_seconds_count"):
        assert value(text, name, command="orders.create", module="orders") == 0.0
    for name in ("bot_command_count", "bot_failed_command"):
        assert value(text, name, command="orders.create") == 0.0
    for name in ("bot_jobs_queued", "bot_jobs_processing", "bot_jobs_failed", "bot_job_latency_seconds_count"):
        assert value(text, name) == 0.0


def test_a_guard_without_commands_has_the_job_names_too() -> None:
    assert FIXED.keys() | OWN.keys() <= set(re.findall(r"^# TYPE (\S+)", guard().metrics.text(), re.MULTILINE))


def test_a_handler_whose_model_comes_later_is_there_before_it_is_called() -> None:
    late = guard()

    def handle(payload: Any) -> None: ...

    handle.__annotations__["payload"] = "DefinedLaterInTheModule"
    late.command("orders.late")(handle)
    assert value(late.metrics.text(), "bot_command_count", command="orders.late") == 0.0


def test_the_numbers_are_the_runs() -> None:
    desk = Desk().command(module="orders", effects="idempotent", retry=Retry(on=Boom, attempts=3, wait=lambda _: 1.0))
    desk.then = lambda order: desk.clock.advance(1.5)
    desk.run("A1")
    desk.run("A1")
    desk.run("A2", roles=())
    desk.run({"order_id": 5})
    desk.fails(Rejected("out of stock")).run("A3")
    desk.fails(Boom()).run("A4")
    text = desk.guard.metrics.text()
    labels = {"command": "orders.create", "module": "orders"}
    by_status = {str(status): value(text, "bot_commands_total", **labels, status=str(status)) for status in Status}
    assert {status: n for status, n in by_status.items() if n} == {
        "succeeded": 2.0,
        "denied": 1.0,
        "invalid": 1.0,
        "failed": 2.0,
    }
    assert value(text, "bot_command_failures_total", **labels) == 1.0
    assert value(text, "bot_command_retries_total", **labels) == 2.0
    assert value(text, "bot_command_replays_total", **labels) == 1.0
    assert value(text, "bot_command_count", command="orders.create") == 6.0
    assert value(text, "bot_failed_command", command="orders.create") == 1.0
    assert value(text, "bot_command_duration_seconds_count", **labels) == 6.0
    assert value(text, "bot_command_duration_seconds_sum", **labels) == pytest.approx(3.5)
    assert value(text, "bot_command_duration_seconds_bucket", **labels, le="1.0") == 4.0
    assert value(text, "bot_command_duration_seconds_bucket", **labels, le="2.0") == 6.0
    assert value(text, "bot_command_duration_seconds_bucket", **labels, le="+Inf") == 6.0


def test_a_degraded_run_is_counted() -> None:
    desk = Desk().command(effects="idempotent")

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    desk.storage.idempotency.claim = desk.storage.idempotency.peek = down
    assert desk.run().degraded
    assert value(desk.guard.metrics.text(), "bot_command_degraded_total", command="orders.create", module="") == 1.0


def test_names_that_callers_invent_make_no_series() -> None:
    desk = Desk().command()
    for n in range(20):
        desk.guard.run(f"guess.{n}", {}, context=None)
    text = desk.guard.metrics.text()
    assert {dict(labels).get("command") for _, labels in samples(text)} == {"orders.create", "unknown-command", None}
    assert value(text, "bot_command_count", command="unknown-command") == 20.0


NASTY = 'say "no" \\ or\nbreak the line \\n {le="1"} ü # TYPE x counter'


def test_label_values_are_escaped() -> None:
    desk = Desk().command(module=NASTY)
    desk.run()
    text = desk.guard.metrics.text()
    assert value(text, "bot_commands_total", command="orders.create", module=NASTY, status="succeeded") == 1.0
    assert not [line for line in text.splitlines() if line.startswith("break")]


# ── whether a linter would take it ──────────────────────────────────────────────────────────────────────────────────

UNITS = ("milliseconds", "minutes", "hours", "ms", "kilobytes", "percent")


def problems(text: str) -> list[str]:
    """promtool's rules for an exposition, as far as they concern us."""
    found: list[str] = []
    helped = re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    if [name for name, _ in helped] != [name for name, _ in types]:
        found.append("every family has HELP, then TYPE, once")
    found += [f"{name} appears twice" for name, _ in types if [n for n, _ in types].count(name) > 1]
    found += [f"{name} has no help text" for name, help_ in helped if not help_.strip()]
    family = ""
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            family = line.split()[2]
        elif not line.startswith("#") and not re.match(rf"{family}(_bucket|_sum|_count)?[{{ ]", line):
            found.append(f"a sample outside its family: {line}")
    for name, kind in types:
        if (kind == "counter") != name.endswith("_total"):
            found.append(f"{name}: counters, and nothing else, end in _total")
        if kind in ("counter", "gauge") and name.endswith(("_count", "_sum", "_bucket")):
            found.append(f"{name}: a suffix of histograms")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            found.append(f"{name}: not in snake case")
        if any(f"_{unit}" in name for unit in UNITS) or kind in name.split("_"):
            found.append(f"{name}: a unit that is no base unit, or the type in the name")
    for name, labels in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        if re.search(r'(^|,)le="', labels) and not name.endswith("_bucket"):
            found.append(f"{name}: le outside a histogram")
    return found


def test_a_linter_finds_nothing() -> None:
    desk = Desk().command(module="orders")
    desk.run()
    assert problems(desk.guard.metrics.text()) == []


@pytest.mark.parametrize(
    "bad",
    [
        "# HELP a_total x\n# TYPE a_total gauge\na_total 1\n",
        "# HELP bot_command_count x\n# TYPE bot_command_count gauge\nbot_command_count 1\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\n# HELP a x\n# TYPE a gauge\na 2\n",
        "# TYPE a gauge\na 1\n",
        "# HELP a_milliseconds x\n# TYPE a_milliseconds gauge\na_milliseconds 1\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a_gauge x\n# TYPE a_gauge gauge\na_gauge 1\n",
    ],
)
def test_the_linter_of_this_test_has_teeth(bad: str) -> None:
    assert problems(bad)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing() -> None:
    desk = Desk().command(module=NASTY)
    desk.run()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=desk.guard.metrics.text(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_histograms_add_up_and_hold_the_bounds_of_the_objectives() -> None:
    desk = Desk().command(module="orders")
    for seconds in (0.001, 2.0, 10.0, 100.0):
        desk.then = lambda order, seconds=seconds: desk.clock.advance(seconds)  # type: ignore[misc]
        desk.run(f"A{seconds}")
    for family in text_string_to_metric_families(desk.guard.metrics.text()):
        if family.type != "histogram":
            continue
        buckets = [s for s in family.samples if s.name.endswith("_bucket") and s.labels.get("module", "orders")]
        numbers = [sample.value for sample in buckets]
        assert numbers == sorted(numbers)
        assert {"2.0", "10.0", "+Inf"} <= {sample.labels["le"] for sample in buckets}
        (count,) = [s.value for s in family.samples if s.name.endswith("_count") and s.labels.get("module", "orders")]
        assert numbers[-1] == count


# ── registries of prometheus_client ─────────────────────────────────────────────────────────────────────────────────


def test_a_collector_fits_into_any_registry_and_into_both_formats() -> None:
    desk = Desk().command(module=NASTY)
    registry = CollectorRegistry()
    registry.register(desk.guard.metrics.collector())
    Counter("host_requests", "The host's own.", registry=registry).inc()
    desk.run()
    text = generate_latest(registry).decode()
    assert value(text, "bot_command_count", command="orders.create") == 1.0
    assert value(text, "host_requests_total") == 1.0
    families = {family.name: family.type for family in read_openmetrics(generate_openmetrics(registry).decode())}
    assert (families["bot_command_count"], families["bot_commands"]) == ("unknown", "counter")


def test_two_collectors_of_ours_in_one_registry_are_refused_by_it() -> None:
    registry = CollectorRegistry()
    registry.register(Desk().guard.metrics.collector())
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(Desk().guard.metrics.collector())


def test_registering_may_be_repeated() -> None:
    desk = Desk().command()
    registry = CollectorRegistry()
    first = desk.guard.metrics.register(registry)
    assert desk.guard.metrics.register(registry) is first
    desk.run()
    text = generate_latest(registry).decode()
    assert problems(text) == []
    assert value(text, "bot_command_count", command="orders.create") == 1.0


def test_two_guards_in_one_registry_are_added_up() -> None:
    registry = CollectorRegistry()
    desks = [Desk().command(module=module) for module in ("orders", "orders", "legacy")]
    for desk in desks:
        desk.guard.metrics.register(registry)
        desk.run()
    text = generate_latest(registry).decode()
    assert problems(text) == []
    runs = {"command": "orders.create", "status": "succeeded"}
    assert value(text, "bot_commands_total", **runs, module="orders") == 2.0
    assert value(text, "bot_commands_total", **runs, module="legacy") == 1.0
    assert value(text, "bot_command_count", command="orders.create") == 3.0


def test_what_a_guard_has_counted_stays_when_its_module_is_imported_again() -> None:
    registry = CollectorRegistry()
    for expected in (1.0, 2.0, 3.0):
        desk = Desk().command()  # as a reloaded module makes a new guard, and drops the old one
        desk.guard.metrics.register(registry)
        desk.run()
        assert value(generate_latest(registry).decode(), "bot_command_count", command="orders.create") == expected


def test_a_collector_that_was_taken_out_can_come_back() -> None:
    desk = Desk().command()
    registry = CollectorRegistry()
    registry.unregister(desk.guard.metrics.register(registry))
    assert generate_latest(registry) == b""
    desk.guard.metrics.register(registry)
    assert value(generate_latest(registry).decode(), "bot_command_count", command="orders.create") == 0.0


def test_a_name_that_the_host_has_taken_is_said() -> None:
    registry = CollectorRegistry()
    Counter("bot_commands", "The host's own.", registry=registry)
    with pytest.raises(ConfigurationError, match="BG190.*bot_commands"):
        Desk().guard.metrics.register(registry)


def test_the_global_registry_survives_a_botguard_that_is_loaded_anew() -> None:
    script = """
        import importlib, sys
        from prometheus_client import REGISTRY, generate_latest

        for turn in (1, 2):
            from botguard import ALLOW_ALL, Actor, Context, Guard
            from botguard.adapters.memory import MemoryStorage
            guard = Guard(storage=MemoryStorage(), access=ALLOW_ALL)
            guard.metrics.register()

            @guard.command("a.b", effects="read")
            def handle(payload: dict) -> int:
                return 1

            assert guard.run("a.b", {}, context=Context(org="acme", actor=Actor("ann"))).ok
            for name in [name for name in sys.modules if name.split(".")[0] == "botguard"]:
                del sys.modules[name]
        assert b'bot_command_count{command="a.b"} 2.0' in generate_latest(REGISTRY)
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True, timeout=60)


def test_the_content_type_names_the_format() -> None:
    assert Metrics.CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


# ── jobs, read from the store at scrape ─────────────────────────────────────────────────────────────────────────────


def job_numbers() -> JobNumbers:
    return JobNumbers(5, 2, 1, (0, 0, 0, 0, 3, *(0,) * (len(LATENCY_BOUNDS) - 5), 1), 2006.0)


def test_job_numbers_are_asked_for_at_each_scrape() -> None:
    desk = Desk()
    asked: list[None] = []

    def source() -> JobNumbers:
        asked.append(None)
        return job_numbers()

    desk.guard._parts.meter.jobs = source
    text = desk.guard.metrics.text()
    assert [value(text, f"bot_jobs_{state}") for state in ("queued", "processing", "failed")] == [5.0, 2.0, 1.0]
    assert value(text, "bot_job_latency_seconds_bucket", le="1.0") == 0.0
    assert value(text, "bot_job_latency_seconds_bucket", le="2.0") == 3.0
    assert value(text, "bot_job_latency_seconds_count") == 4.0
    assert value(text, "bot_job_latency_seconds_sum") == 2006.0
    assert value(text, "bot_store_scrape_success") == 1.0
    assert problems(text) == []
    desk.guard.metrics.text()
    assert len(asked) == 2


def test_a_store_that_is_down_shows_no_old_number_and_takes_nothing_else_along() -> None:
    desk = Desk().command()

    def down() -> JobNumbers:
        raise StoreUnavailable("down")

    desk.guard._parts.meter.jobs = down
    text = desk.guard.metrics.text()
    assert "bot_jobs_" not in text
    assert "bot_job_latency" not in text
    assert value(text, "bot_store_scrape_success") == 0.0
    assert value(text, "bot_command_count", command="orders.create") == 0.0


def test_guards_on_one_store_show_its_jobs_once() -> None:
    registry = CollectorRegistry()
    other = lambda: JobNumbers(queued=10)  # noqa: E731
    for source in (job_numbers, job_numbers, other):
        desk = Desk()
        desk.guard._parts.meter.jobs = source
        desk.guard.metrics.register(registry)
    assert value(generate_latest(registry).decode(), "bot_jobs_queued") == 15.0
