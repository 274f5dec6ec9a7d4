"""What is done to a bot: killed, stopped, cut off from its database, or left without room on the disk."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crashes.nursery import kill

if TYPE_CHECKING:
    from crashes.conductor import Conductor
    from crashes.crew import Bot

#: A stopped or stalled bot wakes when its lease is over for half of it again.
OVERSLEPT = 1.5
#: Bytes that a file may have: more than the world outside and the spool need, less than the database.
LIMIT = 48 * 1024


class Fault(Protocol):
    """One kind of it.

    Args:
        needs_proxy: True if bots reach their database through a proxy.
        waits: True if the bot stands still, so that somebody else should come after its lease.
    """

    needs_proxy: bool
    waits: bool

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        """Do it, and plan its end."""
        ...


class Kill:
    """SIGKILL."""

    needs_proxy = waits = False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        kill(bot.pid)


class Stop:
    """SIGSTOP; it goes on when its lease is long over, as if nothing had happened."""

    needs_proxy, waits = False, True

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        os.kill(bot.pid, signal.SIGSTOP)
        conductor.later(OVERSLEPT * conductor.lease, bot.wake)


class Terminate:
    """The server ends the bot's connections (pg_terminate_backend, KILL)."""

    needs_proxy = waits = False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        for backend in bot.backends:
            conductor.outside.terminate(backend)


class Cut:
    """The network resets the bot's connections."""

    needs_proxy, waits = True, False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        assert bot.proxy is not None
        bot.proxy.cut()


class Down:
    """The server cannot be reached for a while."""

    needs_proxy, waits = True, False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        assert bot.proxy is not None
        bot.proxy.down()
        bot.trouble = "Down"
        conductor.later(conductor.chance.uniform(0.02, 0.4) * conductor.lease, bot.heal)


class LoseAnswers:
    """What the bot asks for is done, and it does not hear of it, for a while."""

    needs_proxy, waits = True, False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        assert bot.proxy is not None
        bot.proxy.lose_answers()
        bot.trouble = "LoseAnswers"
        conductor.later(conductor.chance.uniform(0.02, 0.2) * conductor.lease, bot.heal)


class Stall:
    """Nothing moves on the network until the lease is long over; then everything goes on."""

    needs_proxy, waits = True, True

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        assert bot.proxy is not None
        bot.proxy.stall()
        bot.trouble = "Stall"
        conductor.later(OVERSLEPT * conductor.lease, bot.heal)


def fill(ballast: Path) -> None:
    """Leave no byte on the disk of this file."""
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass


class FullDisk:
    """The disk that holds the database is full, for a while, for everybody.

    Args:
        ballast: a file on that disk.
    """

    needs_proxy = waits = False

    def __init__(self, ballast: Path) -> None:
        self._ballast = ballast

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        fill(self._ballast)
        conductor.trouble("FullDisk")
        conductor.later(conductor.chance.uniform(0.1, 0.5) * conductor.lease, lambda: self._end(conductor))

    def _end(self, conductor: Conductor) -> None:
        self._ballast.unlink(missing_ok=True)
        conductor.trouble("")


class FileLimit:
    """No file of the bot may grow beyond a few kilobytes, for a while: its writes to the database fail half-way."""

    needs_proxy = waits = False

    def strike(self, bot: Bot, conductor: Conductor) -> None:
        _, most = resource.prlimit(bot.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (LIMIT, most))
        bot.trouble = "FileLimit"
        conductor.later(conductor.chance.uniform(0.1, 0.5) * conductor.lease, lambda: self._end(bot, most))

    def _end(self, bot: Bot, most: int) -> None:
        bot.trouble = ""
        if bot.doomed is None:
            resource.prlimit(bot.pid, resource.RLIMIT_FSIZE, (most, most))
