"""Policies as a Python list: rules that restrict or oblige, matched by command."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any

from botguard.errors import ConfigurationError, StoreUnavailable
from botguard.invocation import Invocation
from botguard.outcome import Detail
from botguard.ports.policy import PERMIT, Decision, Obligation

__all__ = ["Ask", "Rule", "RuleList"]


def Ask(text: str = "", code: str = "confirmation_required") -> Obligation:  # noqa: N802 - reads as the value it makes
    """What a rule or check returns to have the requester confirm; ``text`` is the question."""
    return Obligation("confirm", text, code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """If ``when`` holds for a call of ``commands``, deny it or ask for a confirmation.

    Args:
        commands: a command's name or a pattern such as ``orders.*``.
        when: a function of the Invocation; None: always. If it raises, the rule counts as matched.
        deny: a code of the host's, with ``message`` for the person.
        confirm: the question that the requester must say yes to.
    """

    commands: str = "*"
    when: Callable[[Invocation], Any] | None = None
    deny: str = ""
    message: str = ""
    confirm: str = ""

    def __post_init__(self) -> None:
        if bool(self.deny) == bool(self.confirm):
            raise ConfigurationError(
                "BG151",
                f"Rule({self.commands!r}) must either deny or confirm",
                why="a rule that does neither, or both, says nothing",
                fix='write Rule(commands="orders.*", when=…, deny="too_large") or confirm="Really?"',
            )

    def verdict(self) -> Decision:
        """What a match means."""
        if self.deny:
            text = self.message or self.deny.replace("_", " ").replace(".", " ").capitalize() + "."
            return Decision(False, (Detail("", self.deny, text),))
        return Decision(True, (), (Ask(self.confirm),))


class RuleList:
    """A :class:`botguard.ports.policy.PolicyEngine` over rules. Deny beats all; their order never matters."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        for rule in self._rules:
            if not isinstance(rule, Rule):
                raise ConfigurationError(
                    "BG152",
                    f"policies= holds {rule!r:.60}",
                    why="what is no rule restricts nothing",
                    fix="give Rule(...) objects",
                )
        self._by_command: dict[str, tuple[tuple[Rule, Decision], ...]] = {}
        names = [f"{r.commands}|{getattr(r.when, '__qualname__', r.when)}|{r.deny}|{r.confirm}" for r in self._rules]
        self.digest = blake2b("\n".join(sorted(names)).encode(), digest_size=6).hexdigest()

    def concerns(self, command: str) -> bool:
        """See the port."""
        return bool(self._matching(command))

    def conditions(self) -> tuple[Callable[..., Any], ...]:
        """The functions that rules ask, for the wiring check of their colour."""
        return tuple(rule.when for rule in self._rules if rule.when is not None)

    def _matching(self, command: str) -> tuple[tuple[Rule, Decision], ...]:
        rules = self._by_command.get(command)
        if rules is None:
            rules = tuple((r, r.verdict()) for r in self._rules if fnmatchcase(command, r.commands))
            self._by_command[command] = rules
        return rules

    def decide(self, invocation: Invocation) -> Decision | Awaitable[Decision]:
        """See the port."""
        decision = PERMIT
        rules = self._matching(invocation.command)
        for n, (rule, verdict) in enumerate(rules):
            matched = _matches(rule, invocation)
            if hasattr(matched, "__await__"):
                return self._decide_async(invocation, matched, decision, rules[n:])
            if matched:
                decision = _merge(decision, verdict)
        return decision

    async def _decide_async(
        self, invocation: Invocation, first: Any, decision: Decision, rules: tuple[tuple[Rule, Decision], ...]
    ) -> Decision:
        matched: Any = await _settled(first)
        for n, (rule, verdict) in enumerate(rules):
            if n:
                matched = _matches(rule, invocation)
                if hasattr(matched, "__await__"):
                    matched = await _settled(matched)
            if matched:
                decision = _merge(decision, verdict)
        return decision


def _matches(rule: Rule, invocation: Invocation) -> Any:
    if rule.when is None:
        return True
    try:
        return rule.when(invocation)
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001 - a restricting rule that cannot be evaluated counts as matched
        return True


async def _settled(awaitable: Awaitable[Any]) -> Any:
    try:
        return await awaitable
    except StoreUnavailable:
        raise
    except Exception:  # noqa: BLE001 - as above
        return True


def _merge(one: Decision, other: Decision) -> Decision:
    return Decision(
        one.permitted and other.permitted,
        one.details + other.details,
        one.obligations + tuple(o for o in other.obligations if o not in one.obligations),
    )
