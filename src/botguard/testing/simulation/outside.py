"""What lies outside of the guard: the people of a directory, and the business system whose effects must be right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from botguard.invocation import Principal

__all__ = ["Intent", "Ledger", "Outside", "SqlLedger", "directory_of_people"]


class Intent(NamedTuple):
    """What a caller wants once: a command on one order of one org."""

    org: str
    command: str
    order: str


#: (org, actor) → person. One person has two accounts, and two orgs have people of the same name.
PEOPLE = {
    ("acme", "ann"): "ann",
    ("acme", "ann-web"): "ann",
    ("acme", "bob"): "bob",
    ("acme", "guest"): "guest",
    ("umbra", "ann"): "ann",
}


def directory_of_people() -> dict[tuple[str, str], Principal]:
    """Everybody as they are at first."""
    return {
        (org, actor): Principal(person, frozenset(() if actor == "guest" else ("clerk",)), org=org)
        for (org, actor), person in PEOPLE.items()
    }


class Outside:
    """The business system. It carries out whatever reaches it and remembers who asked."""

    def __init__(self) -> None:
        self.people = directory_of_people()
        #: Runs whose effect happened, by intent, in order.
        self.effects: dict[Intent, list[Any]] = {}
        #: Runs that have begun to ask for an effect, by key.
        self._asked: dict[str, list[Any]] = {}

    def asks(self, run: Any, key: str) -> None:
        """A request for an effect is on its way."""
        self._asked.setdefault(key, []).append(run)

    def apply(self, run: Any) -> bool:
        """The effect happens, unless the system was told that it must not any more."""
        if run.barred:
            return False
        self.effects.setdefault(run.intent, []).append(run)
        return True

    def find(self, key: str, owners: Iterable[Any]) -> Any:
        """The run whose effect exists under this key; None: there is none, and none of its owners so far will have one.

        That is what an honest ``NotHappened`` takes: the system refuses whatever an earlier owner may still send.
        """
        for run in self._asked.get(key, ()):
            if run in self.effects.get(run.intent, ()):
                return run
        for run in owners:
            run.barred = True
        return None

    def booked(self, intent: Intent) -> bool:
        """True if the order has this effect."""
        return bool(self.effects.get(intent))


class Ledger(Protocol):
    """How a simulated handler writes into a unit of work, and how that is read back: a host's own sessions need one."""

    def prepare(self, handle: Any) -> None:
        """Make the table, if there is none; in a unit that is committed."""
        ...

    def write(self, handle: Any, number: int) -> None:
        """Write the effect of a run, in the unit that belongs to this handle."""
        ...

    def read(self, handle: Any) -> list[int]:
        """The numbers of all runs whose effect is stored."""
        ...


class SqlLedger:
    """For handles with ``execute(sql, parameters)`` and question marks, such as ``sqlite3.Connection``."""

    def prepare(self, handle: Any) -> None:
        """See :class:`Ledger`."""
        handle.execute("CREATE TABLE IF NOT EXISTS simulated_effects (run INTEGER)")

    def write(self, handle: Any, number: int) -> None:
        """See :class:`Ledger`."""
        handle.execute("INSERT INTO simulated_effects (run) VALUES (?)", (number,))

    def read(self, handle: Any) -> list[int]:
        """See :class:`Ledger`."""
        return [row[0] for row in handle.execute("SELECT run FROM simulated_effects").fetchall()]
