"""Worlds borrow the programs of ``tests/unit/world``."""

import sys
from pathlib import Path

UNIT = str(Path(__file__).parents[1] / "unit")
if UNIT not in sys.path:
    sys.path.append(UNIT)
