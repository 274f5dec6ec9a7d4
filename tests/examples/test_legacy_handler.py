"""examples/legacy_handler.py does what its documentation says: nothing changes in shadow, everything holds when enforced."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from botguard.testing import FakeClock
from examples import legacy_handler

SHOWN = """\
In shadow
  user 2  /stock tea             -> tea: 40 kg
  user 1  /approve               -> Order #17 is approved.
  user 1  /approve               -> Order #17 is approved.
  user 2  /approve               -> Order #18 is approved.
  user 1  please do not approve  -> Order #None is approved.
  user 1  /approve               -> Order #20 is approved.
  user 1  /approve               -> Order #21 is approved.
  user 1  /approve               -> Order #22 is approved.
  user 1  /approve               -> Order #23 is approved.
  letters sent: [17, 17, 18, None, 20, 21, 22, 23]

Shadow report, 2027-01-15 08:00:00 to 2027-01-15 08:00:00 UTC
9 calls seen, 4 would have been refused; none was changed.

orders.approve
  passed                                           3  2027-01-15 08:00:00  e.g. update-2
  invalid       invalid_payload                    1  2027-01-15 08:00:00  e.g. update-5
  denied        missing_permission                 1  2027-01-15 08:00:00  e.g. update-4
  throttled     rate_limited                       2  2027-01-15 08:00:00  e.g. update-8
  replayed                                         1  2027-01-15 08:00:00  e.g. update-3
  full          3/minute per user                  2  2027-01-15 08:00:00  e.g. update-8
  charged       3/minute per user                  3  2027-01-15 08:00:00  e.g. update-2

stock.show
  passed                                           1  2027-01-15 08:00:00  e.g. update-1

Enforced
  user 2  /stock tea             -> tea: 40 kg
  user 1  /approve               -> Order #17 is approved.
  user 1  /approve               -> Order #17 is approved.
  user 2  /approve               -> You are not allowed to do this.
"""


def test_it_prints_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    legacy_handler.main(FakeClock())
    printed = capsys.readouterr().out
    assert printed.startswith(SHOWN)
    assert printed.endswith("letters sent: [17, 20, 21]\n")
    assert printed.count("That was too often.") == 2


def test_in_shadow_the_morning_is_the_one_without_a_guard(capsys: pytest.CaptureFixture[str]) -> None:
    erp = legacy_handler.Erp()
    legacy_handler.morning(legacy_handler.registry(erp))
    unguarded = capsys.readouterr().out
    legacy_handler.main(FakeClock())
    in_shadow = capsys.readouterr().out.split("In shadow\n")[1]
    assert in_shadow.startswith(f"{unguarded}  letters sent: {erp.letters}\n")


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", legacy_handler.__file__],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "9 calls seen, 4 would have been refused; none was changed." in done.stdout
