"""Shadow evaluates exactly what enforce evaluates: the same calls in the same order get the same verdicts from an
enforcing guard and from one that only watches."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adoption.support import ACCESS, NAME, Approve, bind, ctx
from botguard import Ask, Breaker, Check, Detail, Guard, Outcome, Principal, Rejected, Rule
from botguard.adapters.memory import MemoryStorage
from botguard.outcome import Status
from botguard.testing import FakeClock

PEOPLE = {
    "u1": Principal("ann", {"sales"}),
    "u2": Principal("ann", {"sales"}),
    "u3": Principal("bob", {"sales", "guest"}),
}


def is_open(call: Any) -> Any:
    return "order_closed" if call.payload.order_id == 3 else None


def is_small(call: Any) -> Any:
    return (
        Ask("Really?")
        if call.payload.amount > 5
        else []
        if call.payload.amount
        else [Detail("", "nothing", "Nothing.")]
    )


OPTIONS: dict[str, list[Any]] = {
    "effects": ["external", "idempotent", "read"],
    "limits": [[], ["2/minute per user"], ["3/minute per org fixed-window", "2/hour per command moving-window"]],
    "checks": [[], [is_open], [Check(is_open, "visibility"), Check(is_small, "consistency")], [Check(is_small, "predict")]],
    "risk": ["low", "high"],
    "breaker": [None, "erp"],
    "replay_to": ["person", "org"],
    "final": [(), (KeyError,)],
    "keep": [1e6, 40.0],
    "modes": [{}, {"policy": "shadow"}, {"limit": "shadow"}, {"limit": "off"}, {"confirm": "shadow"}, {"authorize": "shadow"}],
    "confirm_within": [900.0, 40.0],
}  # fmt: skip
GUARDS: dict[str, list[Any]] = {
    "directory": [None, lambda org, actor: PEOPLE.get(actor)],
    "policies": [None, [Rule(when=lambda call: call.payload.order_id == 2, deny="no")], [Rule(confirm="Sure?")]],
    "refusals_per_minute": [60, 2],
}
ERRORS: list[Any] = [None, None, None, OSError, KeyError, ConnectionRefusedError, lambda: Rejected("no")]

CALLS = st.lists(
    st.tuples(
        st.integers(0, 3) | st.just("many"),  # the order
        st.sampled_from([0, 1, 9]),  # the amount
        st.sampled_from(["u1", "u2", "u3", "stranger"]),
        st.sampled_from([("sales",), ("sales",), ("guest",)]),
        st.sampled_from(ERRORS),
        st.sampled_from([0.0, 0.0, 1.0, 31.0, 61.0]),  # seconds before it
    ),
    min_size=1,
    max_size=12,
)


def make(clock: FakeClock, of_guard: dict[str, Any]) -> Guard:
    breakers = {"erp": Breaker(fail_max=2, reset_after=30)}
    return Guard(storage=MemoryStorage(clock=clock), clock=clock, access=ACCESS, breakers=breakers, **of_guard)


def legacy(then: dict[str, Any]) -> Any:
    def handler(ctx: dict[str, Any]) -> str:
        error = then["error"]
        if error is not None:
            raise error()
        return "done"

    return handler


def verdict(outcome: Outcome) -> tuple[str, str]:
    if outcome.replayed:
        return "replayed", ""
    if outcome.attempts or outcome.status is Status.SUCCEEDED:
        return "passed", ""
    return str(outcome.status), str(outcome.reasons[0])


@settings(max_examples=400)
@given(
    calls=CALLS,
    options=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()}),
    of_guard=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in GUARDS.items()}),
)
def test_the_same_calls_get_the_same_verdicts(
    calls: list[Any], options: dict[str, Any], of_guard: dict[str, Any]
) -> None:
    clocks = FakeClock(), FakeClock()
    then: dict[str, Any] = {"error": None}
    options = {"request": Approve, "key": "{order_id}", **options}
    enforcing, watching = make(clocks[0], of_guard), make(clocks[1], of_guard)
    enforcing.command(NAME, bind=bind, **options)(legacy(then))
    shadow = watching.shadow({NAME: legacy(then)}, bind=bind, options={NAME: options})[NAME]
    before: dict[tuple[str, str], int] = {}
    for order, amount, user, roles, error, pause in calls:
        for clock in clocks:
            clock.advance(pause)
        then["error"] = error
        said = ctx(order, user, amount=amount, roles=roles)
        payload, context = bind(said)
        expected = verdict(enforcing.run(NAME, payload, context=context))
        if error is None:
            shadow(said)
        else:
            with suppress(OSError, KeyError, Rejected):
                shadow(said)
        now = {(row.kind, row.reason): row.count for row in watching.shadow_report().rows}
        added = {line: count - before.get(line, 0) for line, count in now.items() if count != before.get(line, 0)}
        before = now
        ends = {line: n for line, n in added.items() if line[0] in STATUSES}
        assert ends == {expected: 1}
        held = watching._shadows.parts.limiter, enforcing._parts.limiter  # type: ignore[union-attr]
        assert counted(held[0]) == counted(held[1]), "charged alike"


STATUSES = {"passed", "replayed", "not_observed", *map(str, Status)}


def counted(limiter: Any) -> Any:
    """Every counter of a limiter that is not empty."""
    found = {}
    for tag, state in limiter._states.items():
        if hasattr(state, "times"):
            found[tag] = {bucket: list(log) for bucket, log in state.times.items() if len(log)}
        else:
            found[tag] = [{b: n for b, n in counts.items() if n} for counts in (state.now, state.before)]
    return found
