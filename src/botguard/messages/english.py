"""What a person reads about an outcome: the English sentences, by reason code, and a few phrases.

No sentence speaks of the software. A reason without a sentence is a note beside a value.
"""

from __future__ import annotations

__all__ = ["SENTENCES"]

SENTENCES: dict[str, str] = {
    "succeeded": "Done.",
    "invalid_payload": "Something in your request is not right.",
    "payload_too_large": "Your request is too long.",
    "key_missing": "Something that identifies your request is missing.",
    "no_context": "I could not tell who is asking. Please sign in and try again.",
    "no_actor": "I could not tell who is asking. Please sign in and try again.",
    "not_found": "I could not find that.",
    "actor_inactive": "Your account is not active. Please ask your administrator.",
    "missing_permission": "You are not allowed to do this.",
    "wrong_bot_class": "This bot cannot do that.",
    "wrong_channel": "This cannot be done here.",
    "policy_denied": "This is not allowed by your company's rules.",
    "not_visible": "I could not find that.",
    "context_refused": "This cannot be done at the moment.",
    "consistency_refused": "This does not fit with what is already recorded.",
    "prediction_refused": "This would cause a problem soon, so it was not done.",
    "check_error": "I could not check whether this is allowed, so it was not done.",
    "confirmation_declined": "All right, I did not do it.",
    "confirmation_expired": "The time to confirm is over. Please ask again.",
    "confirmation_invalid": "This confirmation is not valid for you or for this request.",
    "confirmation_required": "Please confirm first.",
    "rate_limited": "That was too often.",
    "concurrency_limited": "Too many of these are running at the moment.",
    "too_many_refusals": "There were too many refused requests.",
    "breaker_open": "The system behind this is not available at the moment. Nothing was done.",
    "store_unavailable": "The system is not available at the moment. Nothing was done.",
    "host_transaction_open": "The system is busy at the moment. Nothing was done.",
    "running": "I am already working on this.",
    "key_reused": "This does not match an earlier request with the same number.",
    "handler_error": "Something went wrong.",
    "rejected": "This was refused.",
    "deadline_exceeded": "This took too long.",
    "breaker_opened": "The system behind this is not available at the moment.",
    "retry_does_not_fit": "The system behind this is not available at the moment.",
    "effect_unknown": "I cannot tell whether this was done. A person has to look; please do not repeat it.",
    "lease_lost": "This took too long and was taken over.",
    "cancelled": "This was cancelled. Nothing was done.",
    # phrases
    "please_confirm": "Please confirm: {what}?",
    "try_again_in": "Please try again in {time}.",
    "seconds": "{n} s",
    "minutes": "{n} min",
    "hours": "{n} h",
    "support": "Support can look it up with this number: {id}",
}
