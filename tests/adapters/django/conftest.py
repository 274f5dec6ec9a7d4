"""The tests in `inner` need settings of their own, of which a process has one: `test_in_a_site.py` runs them apart."""

from __future__ import annotations

collect_ignore = ["inner"]
