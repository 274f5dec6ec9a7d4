"""Adoption: a legacy registry of handlers watched as if it were guarded, while every call goes on as it always did.

The observer walks the enforcing pipeline, stage by stage as compiled for the command, beside the host's call and over
memory of its own: private claims, limits and breakers. So shadow evaluates what enforce evaluates, and nothing of it is
consumed, refused, stored as a claim or asked of anybody.
"""

from __future__ import annotations

from botguard.adoption.report import ShadowReport, ShadowRow

__all__ = ["ShadowReport", "ShadowRow"]
