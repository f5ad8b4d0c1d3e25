"""Shared by all tests: this folder on the path, one thread, small variants of the game."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs (making one takes seconds)."""
    from stages.store import tracking

    folder = tmp_path_factory.mktemp("store")
    tracking.create_database(folder / tracking.DATABASE, folder / "artifacts")
    return folder / tracking.DATABASE
