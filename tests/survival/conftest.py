"""One undisturbed tiny `dvc repro`, shared by the tests that disturb copies of it."""

import kills
import projects
import pytest

ONE = projects.TINY[: projects.TINY.rindex("  r1:")]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A project of one variant after its `dvc repro`, and what it left."""
    return kills.template(tmp_path_factory.mktemp("undisturbed") / "whole", ONE)
