"""What the documents show runs: every python block of README and docs, and every link leads on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
#: Documents whose examples all start where their first one ends.
GOES_ON = {"rules.md"}
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks() -> list[object]:
    """(sources, file name) of every python block: itself, and what it starts from before it."""
    found: list[object] = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        before: list[str] = []
        for match in BLOCK.finditer(text):
            line = text[: match.start(1)].count("\n") + 1
            name = f"{path.relative_to(ROOT)}:{line}"
            # Blank lines in front make a traceback point at the line of the document.
            source = "\n" * (line - 1) + match[1]
            found.append(pytest.param([*before, source], path.name, id=name))
            if path.name in GOES_ON and not before:
                before = [source]
    return found


@pytest.mark.parametrize(("sources", "name"), blocks())
def test_every_python_block_of_the_documents_runs_as_written(
    sources: list[str], name: str
) -> None:
    names = {"__name__": "__example__"}
    for source in sources:
        exec(compile(source, name, "exec"), names)


def anchors(path: Path) -> set[str]:
    """What a link may name in a document: its headings, as they are shown on the web."""
    headings = HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    links = [
        (path.parent / link if link else path, anchor)
        for link, anchor in LINK.findall(path.read_text(encoding="utf-8"))
        if ":" not in link
    ]
    missing = [
        f"{target.name}#{anchor}" for target, anchor in links
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert missing == []


def test_the_readme_starts_with_the_example_of_an_isolated_block() -> None:
    first = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert first is not None
    assert "pc.Venue.demo()" in first[1]
    assert "venue.audit().ok" in first[1]
