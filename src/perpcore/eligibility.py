"""Who may trade what: an eligibility profile in words, and as the core's 64 bits (SPEC A2)."""

from __future__ import annotations

from dataclasses import dataclass

from perpcore.codes import ProfileBit

_LEVERAGE_SHIFT, _CITIZENSHIP_SHIFT, _RESIDENCE_SHIFT, _GROUPS_SHIFT = 8, 16, 32, 48


@dataclass(frozen=True, kw_only=True)
class Eligibility:
    """A profile that administration sets on an account (SPEC A2).

    The default is an account that may do everything at any leverage the contract allows.
    `Eligibility.none()` is what a new account has: it can hold money, close, cancel, but not open.

    suspended: no order that raises risk, no withdrawal (202).
    level: "ADVANCED" may trade derivatives, "BASIC" may not (411).
    derivatives: has a derivatives account (412). isolated: may open isolated blocks (615).
    collateral: currencies that may go into a block (40104).
    max_leverage: largest leverage, 0: the contract's (226); at most 255.
    citizenship, residence: ISO 3166 numeric, 0: not stated (411 when the venue excludes it).
    contract_groups: groups of contracts that are allowed, each 0 to 15 (40104).
    """

    suspended: bool = False
    level: str = "ADVANCED"
    derivatives: bool = True
    isolated: bool = True
    collateral: tuple[str, ...] = ("USD", "USDC")
    max_leverage: int = 0
    citizenship: int = 0
    residence: int = 0
    contract_groups: tuple[int, ...] = tuple(range(16))

    def __post_init__(self) -> None:
        """Refuse what the 64 bits cannot say; put lists into one order."""
        object.__setattr__(self, "collateral", tuple(sorted(set(self.collateral))))
        object.__setattr__(self, "contract_groups", tuple(sorted(set(self.contract_groups))))
        if self.level not in {"BASIC", "ADVANCED"}:
            raise ValueError(f"level: {self.level!r} is not BASIC or ADVANCED")
        if not set(self.collateral) <= {"USD", "USDC"}:
            raise ValueError(f"collateral: {sorted(self.collateral)} has more than USD and USDC")
        if not 0 <= self.max_leverage <= 255:
            raise ValueError(f"max_leverage: {self.max_leverage} is not from 0 to 255")
        for name in ("citizenship", "residence"):
            if not 0 <= getattr(self, name) <= 999:
                raise ValueError(f"{name}: {getattr(self, name)} is not an ISO 3166 number")
        if not set(self.contract_groups) <= set(range(16)):
            raise ValueError(f"contract_groups: {self.contract_groups} are not all from 0 to 15")

    @property
    def profile(self) -> int:
        """The profile in the core's bits: flags, leverage, citizenship, residence, groups."""
        flags = {
            ProfileBit.PROFILE_SUSPENDED: self.suspended,
            ProfileBit.PROFILE_ADVANCED: self.level == "ADVANCED",
            ProfileBit.PROFILE_DERIVATIVES: self.derivatives,
            ProfileBit.PROFILE_ISOLATED: self.isolated,
            ProfileBit.PROFILE_USD: "USD" in self.collateral,
            ProfileBit.PROFILE_USDC: "USDC" in self.collateral,
        }
        bits = sum(int(bit) for bit, on in flags.items() if on)
        groups = sum(1 << group for group in self.contract_groups)
        return (
            bits
            | self.max_leverage << _LEVERAGE_SHIFT
            | self.citizenship << _CITIZENSHIP_SHIFT
            | self.residence << _RESIDENCE_SHIFT
            | groups << _GROUPS_SHIFT
        )

    @classmethod
    def from_profile(cls, profile: int) -> Eligibility:
        """The words of a profile: the inverse of `profile`."""
        money = (("USD", ProfileBit.PROFILE_USD), ("USDC", ProfileBit.PROFILE_USDC))
        return cls(
            suspended=bool(profile & ProfileBit.PROFILE_SUSPENDED),
            level="ADVANCED" if profile & ProfileBit.PROFILE_ADVANCED else "BASIC",
            derivatives=bool(profile & ProfileBit.PROFILE_DERIVATIVES),
            isolated=bool(profile & ProfileBit.PROFILE_ISOLATED),
            collateral=tuple(currency for currency, bit in money if profile & bit),
            max_leverage=profile >> _LEVERAGE_SHIFT & 0xFF,
            citizenship=profile >> _CITIZENSHIP_SHIFT & 0xFFFF,
            residence=profile >> _RESIDENCE_SHIFT & 0xFFFF,
            contract_groups=tuple(g for g in range(16) if profile >> _GROUPS_SHIFT & 1 << g),
        )

    @classmethod
    def none(cls) -> Eligibility:
        """The profile of a new account: nothing that raises risk is allowed."""
        return cls(
            level="BASIC", derivatives=False, isolated=False, collateral=(), contract_groups=()
        )
