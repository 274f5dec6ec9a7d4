"""FileSpool: what the store did not take is kept, and applied once the store is back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

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


def drained(spool: FileSpool) -> list[Any]:
    found = []
    for record, acknowledge in spool.drain():
        found.append(record["n"])
        acknowledge()
    return found


def test_a_record_that_is_written_while_somebody_drains_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is open for writing when another process takes it aside, reads it and removes it."""
    ours, theirs = FileSpool(tmp_path / "spool"), FileSpool(tmp_path / "spool")
    ours.write({"n": 1})
    write, found = os.write, []

    def late(descriptor: int, line: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        found.extend(drained(theirs))
        return write(descriptor, line)

    monkeypatch.setattr(os, "write", late)
    ours.write({"n": 2})
    assert found == [1]
    assert drained(theirs) == [2]
    assert list(tmp_path.iterdir()) == []


def test_two_may_drain_at_once(tmp_path: Path) -> None:
    """One of them removes nothing that the other has not read."""
    ours, theirs = FileSpool(tmp_path / "spool"), FileSpool(tmp_path / "spool")
    ours.write({"n": 1})
    draining = ours.drain()
    first, acknowledge = next(draining)
    assert (first["n"], drained(theirs)) == (1, [1])
    theirs.write({"n": 2})
    third = theirs.drain()
    assert next(third)[0]["n"] == 2
    acknowledge()
    assert list(draining) == []  # ours has come to its end, while theirs has not
    assert [record["n"] for record, _ in third] == []
    assert drained(ours) == [2], "it was not acknowledged"


def test_a_drain_that_never_came_to_its_end_is_done_again(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path / "spool")
    spool.write({"n": 1})
    next(spool.drain())  # and then its process died
    spool.write({"n": 2})
    assert sorted(drained(spool)) == [1, 2]
    assert drained(spool) == []


def test_what_a_full_disk_left_of_one_record_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = FileSpool(tmp_path / "spool")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:5]))
        with pytest.raises(OSError, match="only a part of the record fitted"):
            spool.write({"n": 1})
    spool.write({"n": 2})
    assert drained(spool) == [2]
    assert (tmp_path / "spool.broken").read_bytes().strip() == b'{"n"'
