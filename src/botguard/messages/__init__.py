"""Outcomes in words: chat text for people, and RFC 9457 problems for web clients.

A catalogue maps each reason code to one sentence. It speaks of what the person asked for, never of claims, keys or
validators. English, German and Russian are built in; a host adds or replaces sentences with ``add_catalogue``.
"""

from botguard.messages.catalogue import add_catalogue
from botguard.messages.rendering import problem, render

__all__ = ["add_catalogue", "problem", "render"]
