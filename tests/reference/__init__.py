"""The executable rules: a slow, obvious model of the venue in plain Python integers.

One file a chapter of the venue rules. It imports nothing of the package: it is written from the
rules and from docs/decisions.md, and the compiled engine is held against it.
"""
