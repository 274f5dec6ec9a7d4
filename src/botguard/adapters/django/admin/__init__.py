"""The admin: operators look at rows, and act on those that wait for a person."""

from botguard.adapters.django.admin import approvals, claims, events  # noqa: F401 - importing them registers their pages
