"""The promises by number: what a failing test names, and what the report says of it."""

from __future__ import annotations

__all__ = ["PROMISES"]

PROMISES: dict[str, str] = {
    "PORT": "what a method answers is what its docstring says",
    "COLOUR": "a store is called as its colour says",
    "TIME": "the suite can let the store's time pass",
    # claims
    "IDEM-01": "at most one owner of a key at any time",
    "IDEM-02": "of all who claim a key, one wins, and the same claim again is the same win",
    "IDEM-03": "any history, one by one or at once, is one that the model could have had",
    "IDEM-04": "fences rise with every owner, whatever happened to the row between",
    "IDEM-05": "a stale owner changes nothing",
    "IDEM-06": "what is settled never changes again",
    "IDEM-07": "what comes back is what was given, byte for byte",
    "IDEM-08": "another payload never takes a claim over",
    "IDEM-09": "names that differ in one byte are apart",
    "IDEM-10": "leases and lifetimes end at their end, not before and not after",
    "IDEM-11": "a takeover has one winner, and its former owner can do nothing",
    "IDEM-12": "what was answered is there, for other handles too",
    "IDEM-13": "only what is claimed is released, and unknown waits for a person",
    "IDEM-14": "purge deletes only what is settled and over",
    "IDEM-16": "looking changes nothing",
    "IDEM-17": "an answer may be lost: asking again changes nothing more",
    "IDEM-18": "a call that is cancelled is done or not done, and holds nobody up",
    "IDEM-19": "a store that is cut off says so, and says whether the write may have happened",
    "IDEM-L1": "every key becomes free again or is visibly parked",
    "IDEM-L2": "every call returns within a bound",
    "IDEM-L4": "once faults stop, calls succeed without a restart",
    "EVENT": "an event is stored if and only if its write was",
    # approvals
    "APPR-01": "only what was approved in time is spent",
    "APPR-04": "a request is spent for one key at most, and for that key again",
    "APPR-05": "of all decisions one is final, and everybody is told which",
    "APPR-06": "one live request for a subject",
    "APPR-07": "a button names one request",
    "APPR-L1": "every request ends",
    # the trail
    "AUD-02": "events that arrive at once are all there, each once",
    "AUD-04": "events are only ever added, in the order of their arrival",
    "AUD-09": "one event is one event, whatever its texts hold",
    # limits
    "RATE-01": "never more than declared",
    "RATE-02": "nobody within the rate is refused",
    "RATE-03": "a refusal consumes nothing",
    "RATE-04": "after the wait that was named one is admitted, and not before",
    "RATE-05": "many at once are counted as one by one",
    "RATE-06": "several limits are taken together or not at all",
    "RATE-07": "a clock that goes back mints nothing",
    "REFUND": "a refund gives back what was taken, no more and no less",
    "CAP": "slots are leases",
    # shared breakers
    "BREAK-01": "half-open lets as many probes through as declared, over all processes",
    "BREAK-02": "what one has opened is open for all, for as long as was said",
    "BREAK-03": "what comes from an older era changes nothing",
    "BREAK-04": "probes that succeed close it for all, one that fails opens it for all",
    "BREAK-05": "a probe that is lost or says nothing gives its place back",
    "BREAK-06": "a store that has forgotten believes who still knows",
}
