"""Shared by all tests: this folder on the path, one thread, small variants of the game."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))
for name in [n for n in os.environ if n in ("CI", "GH_TOKEN") or n.startswith("GITHUB_")]:
    del os.environ[name]  # a test that is a CI job says so; none writes to the page of the job that runs it


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs (making one takes seconds)."""
    from stages.store import tracking

    folder = tmp_path_factory.mktemp("store")
    tracking.create_database(folder / tracking.DATABASE, folder / "artifacts")
    return folder / tracking.DATABASE
