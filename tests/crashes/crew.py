"""The bots of a run and the updates on their way through them, as the conductor sees them."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botguard.testing.proxy import FaultProxy
    from crashes.books import Order
    from crashes.faults import Fault


@dataclass
class Delivery:
    """One update on its way through one bot."""

    order: Order
    began: float
    fault: Fault | None = None
    strikes_at: str = ""
    delay: float = 0.0
    at: str = "sent"
    fence: int = 0


@dataclass
class Bot:
    """A process, as the conductor sees it."""

    pid: int
    line: socket.socket
    proxy: FaultProxy | None
    ready: bool = False
    delivery: Delivery | None = None
    backends: list[int] = field(default_factory=list)
    heard: bytes = b""
    #: What it has to live with at present, whatever is delivered to it.
    trouble: str = ""
    #: What it had in its hands when it was killed.
    doomed: Delivery | None = None

    @property
    def is_free(self) -> bool:
        return self.ready and self.delivery is None and self.doomed is None

    def wake(self) -> None:
        """It goes on, if it was not killed while it slept."""
        if self.doomed is None:
            os.kill(self.pid, signal.SIGCONT)

    def heal(self) -> None:
        """Its network is sound again; of a dead bot there is none left."""
        self.trouble = ""
        if self.proxy is not None and self.doomed is None:
            self.proxy.heal()
