"""A short run of ``benchmarks/campaign.py``: damaged files give a right answer or one clear line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).parents[3] / "benchmarks" / "campaign.py"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the script needs Linux")
def test_damaged_files_end_well(tmp_path: Path) -> None:
    counts = {"pictures": 48, "videos": 18, "models": 6}
    options = [part for name, count in counts.items() for part in (f"--{name}", str(count))]
    options += ["--seed", "7", "--jobs", "1", "--json", str(tmp_path / "ends.json")]
    done = subprocess.run([sys.executable, CAMPAIGN, *options], capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "ends.json").read_text())
    assert done.returncode == 0, done.stdout
    assert {kind: sum(tally["ends"].values()) for kind, tally in found.items()} == counts
    assert all(set(tally["ends"]) <= {"right", "clear error"} for tally in found.values())
    assert all(tally["ends"]["right"] and tally["ends"]["clear error"] for tally in found.values())
