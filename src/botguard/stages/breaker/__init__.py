"""breaker: stop calling what fails, and find out carefully when it is back (semantics, section 4)."""

from botguard.stages.breaker.gate import BreakerGate
from botguard.stages.breaker.shared_gate import SharedGate
from botguard.stages.breaker.shared_stage import SharedBreakerStage
from botguard.stages.breaker.stage import BreakerStage

__all__ = ["BreakerGate", "BreakerStage", "SharedBreakerStage", "SharedGate"]
