"""Call: the pipeline's own record of one run, from the door to the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from botguard.errors import Rejected, StoreUnavailable
from botguard.invocation import Context, Invocation
from botguard.outcome import Detail, Outcome, Reason, Status
from botguard.ports.runtime import Runtime

if TYPE_CHECKING:
    from botguard.command import Command
    from botguard.ports.approvals import ApprovalRequest
    from botguard.ports.policy import Obligation
    from botguard.ports.storage import Storage
    from botguard.ports.work import Unit

__all__ = ["Allowance", "Call", "PlanView", "closed", "details_of", "refusal"]


class PlanView(Protocol):
    """What stages may know of the compiled plan."""

    command: Command
    #: The command's name.
    name: str
    runtime: Runtime
    #: The runtime's own, at hand, since every run asks for them.
    monotonic: Callable[[], float]
    time: Callable[[], float]
    new_id: Callable[[], str]
    #: True where ports are called from the sync runner, which refuses every awaitable.
    sync: bool


class Allowance:
    """Retries that a run and all guarded calls inside it share, so that nesting adds up instead of multiplying."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


class Call:
    """Everything one run knows. Stages read and fill it; hosts see it through :class:`Invocation` only.

    One is made for every call, so its fields begin as class attributes and only what a run really sets is stored: on
    CPython 3.11 that costs half of plain slots, and a fifth of a frozen dataclass.
    """

    payload: Any = None
    #: The answered request that this run continues.
    resume: ApprovalRequest | None = None
    parent: Call | None = None
    allowance: Allowance | None = None
    person: str = ""
    #: Whom refusals are charged to, once somebody has asked for it.
    caller: tuple[str | None, ...] | None = None
    roles: Any = ()
    row_key: str | None = None
    #: The key was made for this call alone, so that no row can exist yet.
    fresh_key: bool = False
    fingerprint: bytes = b""
    claim_id: str = ""
    fence: int = 0
    attempt: int = 0
    deadline_at: float | None = None
    unit: Unit | None = None
    #: The handler was entered in this run: from here on an effect may exist.
    began: bool = False
    #: The row of this claim has reached its final state, or was released.
    settled: bool = False
    #: The outcome of an attempt that was interrupted when its unit of work was committed, or after its handler had ended:
    #: no time-out undoes it.
    committed: Outcome | None = None
    #: The event of this run is stored already, together with its completion.
    audited: bool = False
    #: A pending request was shown before; this delivery only shows it again.
    reshown: bool = False
    degraded: bool = False
    obligations: tuple[Obligation, ...] = ()
    notes: tuple[Reason, ...] = ()
    shadow: tuple[str, ...] = ()
    policy_digest: str = ""
    #: Field values before the first attempt, kept where another attempt may follow.
    pristine: Any = None
    view: Invocation | None = None
    #: The last error that a call inside this one has sent to Sentry, and the id of its event.
    reported: tuple[BaseException, str] | None = None

    def __init__(
        self,
        plan: PlanView,
        raw: Any,
        context: Context | None,
        args: tuple[Any, ...] | None,
        kwargs: dict[str, Any] | None,
        started: float,
        stores: Storage,
        resume: ApprovalRequest | None = None,
    ) -> None:
        self.plan = plan
        self.raw = raw
        self.context: Any = context
        #: The caller's own arguments; None if the call came by name and payload.
        self.args = args
        self.kwargs = kwargs
        self.started = started
        #: The storage, or the storage inside the host's transaction.
        self.stores = stores
        if resume is not None:
            self.resume = resume

    def invocation(self) -> Invocation:
        """The read-only view that hosts get; made at most once."""
        view = self.view
        if view is None:
            view = self.view = Invocation(self)
        return view

    def remaining(self) -> float | None:
        """Seconds to the deadline, or None without one."""
        if self.deadline_at is None:
            return None
        return self.deadline_at - self.plan.monotonic()

    def note(self, reason: Reason, *, degraded: bool = False) -> None:
        """Remember something to say beside the outcome."""
        if reason not in self.notes:
            self.notes = (*self.notes, reason)
        self.degraded = self.degraded or degraded

    async def bridge(self, awaitable: Any) -> Any:
        """Await what a port, check or handler handed over; under the sync runner that is a wiring error.

        It is refused *before* it is stepped, whether or not it would suspend: a store that suspends only under
        contention would pass every test and fail in production.
        """
        if self.plan.sync:
            from botguard.pipeline.runners import refuse_awaitable

            refuse_awaitable(awaitable, self.plan.command.name)
        return await awaitable


def refusal(
    status: Status, reason: Reason, details: tuple[Detail, ...] = (), retry_after: float | None = None
) -> Outcome:
    """An outcome without value: this stage says no."""
    return Outcome(status, None, None, (reason,), details, retry_after)


def details_of(error: BaseException) -> tuple[Detail, ...]:
    """Words for a person, where the error was made for one."""
    if not isinstance(error, Rejected):
        return ()
    # A host's subclass may never have called our constructor.
    return (Detail("", str(getattr(error, "code", "rejected")), str(getattr(error, "message", error))),)


def closed(error: Exception) -> Outcome:
    """A part that must say yes could not answer: unavailable if its source is down, else denied. Never a yes."""
    if isinstance(error, StoreUnavailable | OSError):
        outcome = refusal(Status.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
    else:
        outcome = refusal(Status.DENIED, Reason.CHECK_ERROR)
    outcome.error = error
    return outcome
