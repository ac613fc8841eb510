"""`perpcore` and `python -m perpcore`: the command line, or one line that says what it needs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from perpcore.cli import run_cli
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        print(
            f"perpcore: {error.name} is not installed; pip install 'perpcore[report]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    raise SystemExit(run_cli())


if __name__ == "__main__":
    main()
