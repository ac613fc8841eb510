"""The planted bugs: each still applies. That each is found, `scripts/planted` shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from patches import HERE, Hunk, Patch, all_patches, read, rules_of

ROOT = Path(__file__).resolve().parents[2]

PATCHES = all_patches()
#: Incidents of venues, by what the first line of their patch must name.
INCIDENTS = ("dYdX, 10 Oct 2025", "Drift #2123", "Drift #2122", "Hyperliquid, 12 Mar 2025")


def test_there_are_at_least_twenty_and_the_named_incidents_are_among_them() -> None:
    assert len(PATCHES) >= 20
    for incident in INCIDENTS:
        assert any(incident in patch.says for patch in PATCHES), incident


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_a_planted_bug_says_which_rule_it_breaks_and_applies(patch: Patch) -> None:
    assert rules_of(patch), patch.says
    assert patch.hunks
    assert patch.misfits(ROOT) == []


def test_a_planted_bug_is_a_patch_like_any_other(tmp_path: Path) -> None:
    """What `patch` makes of each is what is built."""
    for patch in PATCHES:
        ours, theirs = tmp_path / patch.name / "ours", tmp_path / patch.name / "theirs"
        for hunk in patch.hunks:
            for root in (ours, theirs):
                (root / hunk.file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / hunk.file, root / hunk.file)
        patch.apply(ours)
        subprocess.run(["patch", "-s", "-p1", "-F0", "-i", str(HERE / f"{patch.name}.patch")],
                       cwd=theirs, check=True)
        for hunk in patch.hunks:
            assert (ours / hunk.file).read_text() == (theirs / hunk.file).read_text()


def test_a_patch_whose_place_is_gone_or_not_the_only_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "room.pxd").write_text("    one\n    two\n    two\nend two\n")
    for old in ("    three\n", "    two\n", "two\n"):
        with pytest.raises(ValueError, match=r"room\.pxd has \d times"):
            Patch("it", "U1: it", (Hunk("room.pxd", old, ""),)).apply(tmp_path)
    Patch("it", "U1: it", (Hunk("room.pxd", "    one\n", "    six\n"),)).apply(tmp_path)
    assert (tmp_path / "room.pxd").read_text().startswith("    six\n    two\n")


def test_a_hunk_holds_what_it_replaces_with_its_context(tmp_path: Path) -> None:
    path = tmp_path / "it.patch"
    path.write_text("U1: it\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n"
                    "--- a/y\n+++ b/y\n@@ -9 +8,0 @@\n-gone\n")
    assert read(path).hunks == (Hunk("x", "same\nold\n", "same\nnew\n"), Hunk("y", "gone\n", ""))
