"""perpcore: the trading core of a perpetual-futures venue.

    import perpcore as pc
    venue, admin = pc.Venue.demo()
    ann = venue.account("ann", deposit={"USD": "2000"})
    ann.create_order("BTCUSD-PERP", "BUY", quantity="0.05", type="MARKET",
                     exec_inst="ISOLATED_MARGIN", leverage=20)

`help(pc.Venue)`, `help(pc.Account)`, `help(pc.Block)` and `help(pc.Admin)` say how to use it;
`pc.commands` builds records for batches; `pc.COMMAND` and `pc.EVENT` are their dtypes.
`perpcore.margin` and `perpcore.book` work without a venue.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perpcore import book as book
    from perpcore import calculator as calculator
    from perpcore import codes as codes
    from perpcore import commands as commands
    from perpcore import engine as engine
    from perpcore import margin as margin
    from perpcore import presets as presets
    from perpcore.account import Account as Account
    from perpcore.admin import Admin as Admin
    from perpcore.block import Block as Block
    from perpcore.codes import Code as Code
    from perpcore.contracts import BTCUSD_PERP as BTCUSD_PERP
    from perpcore.contracts import ETHUSD_PERP as ETHUSD_PERP
    from perpcore.contracts import Contract as Contract
    from perpcore.eligibility import Eligibility as Eligibility
    from perpcore.engine import EngineBusy as EngineBusy
    from perpcore.errors import OffGrid as OffGrid
    from perpcore.errors import Rejected as Rejected
    from perpcore.errors import Unknown as Unknown
    from perpcore.policies import Policies as Policies
    from perpcore.records import COMMAND as COMMAND
    from perpcore.records import CONTRACT_TERMS as CONTRACT_TERMS
    from perpcore.records import EVENT as EVENT
    from perpcore.records import VENUE_TERMS as VENUE_TERMS
    from perpcore.results import AdlPlace as AdlPlace
    from perpcore.results import Audit as Audit
    from perpcore.results import Book as Book
    from perpcore.results import Events as Events
    from perpcore.results import Fill as Fill
    from perpcore.results import Level as Level
    from perpcore.results import LiquidationLevel as LiquidationLevel
    from perpcore.results import MarketData as MarketData
    from perpcore.results import Order as Order
    from perpcore.results import OrderResult as OrderResult
    from perpcore.results import Position as Position
    from perpcore.results import Preview as Preview
    from perpcore.venue import Venue as Venue

__version__ = "0.1.0"

_HOME = {
    "account": ("Account",),
    "admin": ("Admin",),
    "block": ("Block",),
    "codes": ("Code",),
    "contracts": ("BTCUSD_PERP", "ETHUSD_PERP", "Contract"),
    "eligibility": ("Eligibility",),
    "engine": ("EngineBusy",),
    "errors": ("OffGrid", "Rejected", "Unknown"),
    "policies": ("Policies",),
    "records": ("COMMAND", "CONTRACT_TERMS", "EVENT", "VENUE_TERMS"),
    "results": (
        "AdlPlace", "Audit", "Book", "Events", "Fill", "Level", "LiquidationLevel", "MarketData",
        "Order", "OrderResult", "Position", "Preview",
    ),
    "venue": ("Venue",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("book", "calculator", "codes", "commands", "engine", "margin", "presets")

__all__ = [*_MODULE_OF, *_SUBMODULES, "get_include"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module and keep it."""
    if name in _SUBMODULES:
        return import_module(f"perpcore.{name}")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'perpcore' has no attribute {name!r}")
    value = getattr(import_module(f"perpcore.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Every public name, loaded or not."""
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """Directory of the C++ headers, for `-I`: `#include "perpcore/int128.hpp"`.

    It lies beside the compiled modules and the .pxd files, wherever those are installed; for
    `cimport perpcore.margin` Cython needs the directory that holds the package itself.
    """
    from pathlib import Path

    from perpcore import codes

    return str(Path(codes.__file__).resolve().parent / "include")
