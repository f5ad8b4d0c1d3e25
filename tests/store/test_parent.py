"""A child that ends with its parent, also when the parent ended before the child could ask for it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
first, place = os.getppid(), Path(sys.argv[2])
(place / "started").touch()
while sys.argv[3] == "late" and os.getppid() == first:
    time.sleep(0.01)
from stages.store.parent import die_with_parent
die_with_parent()
(place / "asked").touch()
time.sleep(float(sys.argv[4]))
(place / "outlived").touch()
"""
PARENT = """
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:6]])
print(child.pid, flush=True)
while not (Path(sys.argv[3]) / sys.argv[6]).exists():
    time.sleep(0.01)
if sys.argv[4] == "living":
    child.wait()
"""


def lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's help is Linux's")
@pytest.mark.parametrize(
    ("when", "wait_for", "sleep", "outlives"),
    [("late", "started", "30", False), ("early", "asked", "30", False), ("living", "started", "0", True)],
)
def test_a_child_ends_with_its_parent(tmp_path, when, wait_for, sleep, outlives):
    """late: the parent ends while the child still starts; early: after the child asked; living: it does not end."""
    command = [sys.executable, "-c", PARENT, CHILD, str(ROOT), str(tmp_path), when, sleep, wait_for]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        child = int(parent.stdout.readline())
    deadline = time.monotonic() + 25
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not lives(child)
    assert (tmp_path / "outlived").exists() == outlives
    assert (tmp_path / "asked").exists() == (when != "late")
