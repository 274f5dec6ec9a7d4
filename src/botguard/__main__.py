"""``python -m botguard`` is the command ``botguard``."""

from __future__ import annotations

import sys

from botguard.cli import main

if __name__ == "__main__":
    sys.exit(main())
