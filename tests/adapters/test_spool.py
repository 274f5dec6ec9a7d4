"""FileSpool: what the store did not take is kept, and applied once the store is back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botguard import Actor, Context, Guard, Status
from botguard.adapters.memory import MemoryStorage
from botguard.adapters.spool import FileSpool
from botguard.errors import StoreUnavailable


def test_records_come_back_in_order_until_they_are_acknowledged(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "spool")
    for n in range(3):
        spool.write({"n": n})
    seen = []
    for record, acknowledge in spool.drain():
        seen.append(record["n"])
        if record["n"] != 1:
            acknowledge()
    assert seen == [0, 1, 2]
    assert [record["n"] for record, _ in spool.drain()] == [1]


def test_a_line_cut_off_by_a_crash_is_set_aside_not_lost(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "spool")
    spool.write({"n": 1})
    with (tmp_path / "spool").open("ab") as file:
        file.write(b'{"n": 2')
    records = []
    for record, acknowledge in spool.drain():
        records.append(record)
        acknowledge()
    assert records == [{"n": 1}]
    assert (tmp_path / "spool.broken").read_bytes() == b'{"n": 2'
    assert list(spool.drain()) == []


def test_nothing_to_drain_is_no_error(tmp_path: Path) -> None:
    assert list(FileSpool(tmp_path / "spool").drain()) == []


def test_a_spooled_completion_turns_unknown_into_done(tmp_path: Path) -> None:
    storage = MemoryStorage()
    guard = Guard(storage=storage, access={"sales": {"orders.create"}}, spool=FileSpool(tmp_path / "spool"))
    effects: list[str] = []

    @guard.command("orders.create", key=lambda payload: payload["id"])
    def create(payload: dict[str, Any]) -> str:
        effects.append(payload["id"])
        return f"order {payload['id']}"

    context = Context(org="acme", actor=Actor("u1", roles=("sales",)))
    works = storage.idempotency.finish

    def down(*args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("down")

    storage.idempotency.finish = down  # type: ignore[method-assign]
    first = guard.run("orders.create", {"id": "A"}, context=context)
    assert (first.status, first.value, first.degraded) == (Status.SUCCEEDED, "order A", True)
    assert guard.apply_spool() == 0  # still down: nothing is lost
    storage.idempotency.finish = works  # type: ignore[method-assign]
    assert guard.apply_spool() == 1
    again = guard.run("orders.create", {"id": "A"}, context=context)
    assert (again.value, again.replayed, effects) == ("order A", True, ["A"])
