"""``botguard metrics``: the metrics of a guard, for dashboards, alerts and scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botguard.guard import Guard

__all__ = ["run_metrics"]


def run_metrics(guard: Guard, *, as_json: bool) -> int:
    """Print every family; 0."""
    print(json.dumps(_families(guard), ensure_ascii=False) if as_json else guard.metrics.text(), end="")
    if as_json:
        print()
    return 0


def _families(guard: Guard) -> list[dict[str, Any]]:
    return [
        {
            "name": family.name,
            "type": family.type,
            "help": family.documentation,
            "samples": [
                {"name": sample.name, "labels": sample.labels, "value": sample.value} for sample in family.samples
            ],
        }
        for family in guard.metrics.collector().collect()
    ]
