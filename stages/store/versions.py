"""git and dvc as a scheduled job uses them: what a checkout tracks, restore, push, a branch with what changed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stages.errors import SeesawError
from stages.store.config import read_yaml

PROPOSED = ("dvc.lock", "champion.json", "champion", "*.dvc")
PERSON = {"NAME": "seesaw", "EMAIL": "seesaw@users.noreply.github.com"}  # where git knows nobody, as on a fresh runner


def git(root: Path, *words: str, **more: str) -> str:
    """What a git command prints; SeesawError with its last line when it fails."""
    done = subprocess.run(["git", *words], cwd=root, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SeesawError(f"git {words[0]}: {last_line(done.stderr)}")
    return done.stdout.strip()


def dvc(root: Path, *words: str) -> int:
    """A dvc command with its lines on the terminal; its exit code."""
    return subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=False).returncode


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")


def has_dvc_remote(root: Path) -> bool:
    """Whether dvc has a default remote here."""
    words = [sys.executable, "-m", "dvc", "config", "core.remote"]
    return bool(subprocess.run(words, cwd=root, capture_output=True, text=True, check=False).stdout.strip())


def has_origin(root: Path) -> bool:
    """Whether git has a remote named origin."""
    return "origin" in git(root, "remote").splitlines()


def imports(root: Path) -> list[str]:
    """The .dvc files whose data come from elsewhere (`dvc import`, `dvc import-url`): they have a dependency."""
    pointers = [path for path in git(root, "ls-files", "*.dvc").splitlines() if path]
    return [path for path in pointers if (read_yaml(root / path) or {}).get("deps")]


def changed(root: Path) -> list[str]:
    """Files of PROPOSED that differ from HEAD, new and removed ones included."""
    lines = git(root, "status", "--porcelain", "--untracked-files=all", "--", *PROPOSED).splitlines()
    return sorted(line.strip().split(maxsplit=1)[1] for line in lines)


def commit(root: Path, message: str) -> tuple[str, str]:
    """A commit on top of HEAD with what PROPOSED holds now: its id and its tree's. HEAD, index and working tree stay."""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(root, "read-tree", "HEAD", **index)
        git(root, "add", "--all", "--", *present(root), **index)
        tree = git(root, "write-tree", **index)
    return git(root, "commit-tree", tree, "-p", "HEAD", "-m", message, **nobody(root)), tree


def present(root: Path) -> Sequence[str]:
    """The patterns of PROPOSED that git finds something for: it refuses one that matches nothing."""
    return [
        pattern
        for pattern in PROPOSED
        if git(root, "ls-files", "--", pattern) or git(root, "ls-files", "--others", "--exclude-standard", "--", pattern)
    ]


def nobody(root: Path) -> dict[str, str]:
    """A committer for a machine on which git knows none."""
    known = subprocess.run(["git", "config", "user.email"], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    roles = {} if known else {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in PERSON.items()}
    return {name: os.environ.get(name, value) for name, value in roles.items()}


def push_branch(root: Path, branch: str, commit_id: str) -> bool:
    """Push a commit to origin under a new branch; False where that branch is there already."""
    if git(root, "ls-remote", "--heads", "origin", f"refs/heads/{branch}"):
        return False
    git(root, "push", "--quiet", "origin", f"{commit_id}:refs/heads/{branch}")
    return True
