"""Everything in this process's memory: for tests, trials and single-process bots that may forget on restart."""

from botguard.adapters.memory.breakers import MemoryBreakers
from botguard.adapters.memory.storage import MemoryStorage

__all__ = ["MemoryBreakers", "MemoryStorage"]
