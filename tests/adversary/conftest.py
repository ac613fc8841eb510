"""The model and the differential driver lie beside this directory and are imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for place in (TESTS, TESTS / "property"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
