"""Calls that a type checker must refuse; each line with `# type: ignore` is one."""

from __future__ import annotations

import perpcore as pc

venue, admin = pc.Venue.demo()
ann = venue.account("ann")
ann.create_order("BTCUSD-PERP", "BUY")  # type: ignore[call-arg]
ann.create_order("BTCUSD-PERP", "BUY", None, price=1)  # type: ignore[arg-type]
ann.create_order("BTCUSD-PERP", "BUY", 1, prise=1)  # type: ignore[call-arg]
ann.preview_order("BTCUSD-PERP", "BUY", 1, prise=1)  # type: ignore[call-arg]
ann.mark("BTCUSD-PERP", 1)  # type: ignore[attr-defined]
venue.settle_session()  # type: ignore[attr-defined]
venue.apply([1, 2])  # type: ignore[arg-type]
ann.isolated("BTCUSD-PERP").margin = 5  # type: ignore[misc, assignment]
