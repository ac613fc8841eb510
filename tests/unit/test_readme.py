"""What the documents show runs: every python block of README and docs, and every link leads on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks() -> list[object]:
    """(source, file name, first line) of every python block."""
    found: list[object] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text[: match.start(1)].count("\n") + 1
            name = f"{path.relative_to(ROOT)}:{line}"
            # Blank lines in front make a traceback point at the line of the document.
            found.append(pytest.param("\n" * (line - 1) + match[1], path.name, id=name))
    return found


@pytest.mark.parametrize(("source", "name"), blocks())
def test_every_python_block_of_the_documents_runs_as_written(source: str, name: str) -> None:
    exec(compile(source, name, "exec"), {"__name__": "__example__"})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if ":" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_the_readme_starts_with_the_example_of_an_isolated_block() -> None:
    first = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert first is not None
    assert "pc.Venue.demo()" in first[1]
    assert "venue.audit().ok" in first[1]
