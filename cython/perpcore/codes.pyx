"""The venue's enumerations as Python sees them; the one home of the numbers is codes.pxd."""
