"""Policies: what differs between venues, chosen once when a venue is made.

Each field names a rule of SPEC and the choices that it has; the first is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from perpcore.amounts import NotOnGrid, Number, plain, to_decimal, to_units, trimmed

#: The choices of each policy, in the order of their numbers in VENUE_TERMS.
CHOICES: dict[str, tuple[str, ...]] = {
    "haircut_in": ("margin", "value"),
    "block_collateral": ("convert", "in_kind"),
    "removal": ("in_profit", "free"),
    "partial_close": ("keep", "proportional"),
    "isolated_flip": ("allow", "clip", "reject"),
    "liquidation_limit": ("bankruptcy", "band"),
    "order_margin_in_liquidation": ("return", "forfeit"),
    "backstop": ("fund", "adl"),
    "adl_rank": ("profit_leverage", "pro_rata", "queue_at_mark"),
    "adl_price": ("bankruptcy", "mark"),
    "surplus_to": ("fund", "trader"),
    "deficit": ("forgive", "receivable"),
    "socialize_by": ("unit", "trader"),
    "socialized_loss": ("pro_rata", "one_percent"),
    "unlock_requires": ("positive", "nonnegative"),
    "unlock_at": ("own_settlement", "next_settlement"),
    "fund_by_contract": ("off", "on"),
}


@dataclass(frozen=True, kw_only=True)
class Policies:
    """The choices of one venue; `Venue.create(policies=Policies(backstop="adl"))`.

    haircut_in: the USDC haircut is margin needed, or comes off the USDC's value (SPEC A4).
    block_collateral: USDC that goes into a block is converted to USD, or stays USDC (SPEC A4).
    removal: margin leaves a block only while its position gains, or freely (SPEC I9).
    partial_close: keeps the margin in the block, or always releases the closed share (SPEC I10).
    isolated_flip: an order larger than the opposite position of its block opens the rest, is cut
    to the position, or is refused with 619 (SPEC I12).
    liquidation_limit: no fill beyond the bankruptcy price, or none beyond the price band (SPEC Q3).
    order_margin_in_liquidation: the orders' money of a liquidated block returns, or goes to the
    fund (SPEC Q3).
    backstop: what the book does not take goes to the fund's inventory, or to auto-deleveraging
    (SPEC Q4). adl_rank: most profit x leverage first, all by their size, or ranked but at the mark.
    adl_price: the bankruptcy price of the liquidated position, or the mark.
    surplus_to: what is left of a liquidated block goes to the fund, or to its owner (SPEC Q6).
    deficit: what the fund paid for an owner is forgiven, or taken from later deposits (SPEC Q6).
    socialize_by: an uncovered loss is shared by the profits of units, or of accounts (SPEC S4).
    socialized_loss: in proportion, or one percent of each profit if that is enough (SPEC S4).
    unlock_requires: profits are free when the fund is above 0, or not below 0 (SPEC S5).
    unlock_at: at the end of their own session, or of the next one (SPEC S5).
    fund_by_contract: one insurance fund, or a part of it for each contract, which pays first and at
    most what it has (SPEC S1).
    cover_limit: USD that the fund pays for deficits in a session; what exceeds it is shared as an
    uncovered loss. 0: no limit (SPEC S1).
    Raises ValueError for a word that is no choice.
    """

    haircut_in: str = "margin"
    block_collateral: str = "convert"
    removal: str = "in_profit"
    partial_close: str = "keep"
    isolated_flip: str = "allow"
    liquidation_limit: str = "bankruptcy"
    order_margin_in_liquidation: str = "return"
    backstop: str = "fund"
    adl_rank: str = "profit_leverage"
    adl_price: str = "bankruptcy"
    surplus_to: str = "fund"
    deficit: str = "forgive"
    socialize_by: str = "unit"
    socialized_loss: str = "pro_rata"
    unlock_requires: str = "positive"
    unlock_at: str = "own_settlement"
    fund_by_contract: str = "off"
    cover_limit: Number = 0

    def __post_init__(self) -> None:
        """Refuse a word that is no choice; keep the limit as Decimal."""
        for name, choices in CHOICES.items():
            word = getattr(self, name)
            if word not in choices:
                raise ValueError(f"{name}: {word!r} is none of {', '.join(choices)}")
        limit = to_decimal(self.cover_limit, "cover_limit")
        if limit < 0:
            raise ValueError(f"cover_limit: {plain(limit)} is below 0")
        object.__setattr__(self, "cover_limit", trimmed(Decimal(limit)))

    def write(self, terms: NDArray[np.void]) -> None:
        """Put the choices into (1,) VENUE_TERMS."""
        for name, choices in CHOICES.items():
            terms[name] = choices.index(getattr(self, name))
        try:
            terms["cover_limit_units"] = to_units(self.cover_limit, "cover_limit")
        except NotOnGrid as error:
            raise ValueError(
                f"cover_limit: {plain(error.value)} is finer than 0.00000001"
            ) from None
