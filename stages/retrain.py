"""`seesaw retrain`: the whole scheduled job. Restore, look for new data, run, push, show, gate, propose.

A checkout without a DVC remote, without a git remote or without a token does what it can, and says in one line what it leaves out.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from stages.errors import SeesawError
from stages.promote import Decision, promote
from stages.run import mend, reproduce
from stages.store import github, layout, versions
from stages.store.config import Config


def retrain(config: Config, root: Path) -> Decision:
    """The job, each step's line printed as it is done; the gate's decision. SeesawError when a stage fails (what finished is pushed)."""
    remote = versions.has_dvc_remote(root)
    (root / layout.SUMMARY).unlink(missing_ok=True)  # an earlier job's
    mend(root)
    restore(root, remote)
    try:
        reproduce(root, [])
    except SeesawError as error:
        github.summary(f"# Retraining failed\n\n{error}\n")
        raise
    finally:
        push(root, remote)
    shown = show(root)
    decision = promote(config, root)
    say(str(decision))
    proposed = propose(root, decision)
    say(proposed)
    tell(root, [shown, str(decision), proposed], decision)
    return decision


def say(line: str) -> None:
    """A line on the terminal, at once."""
    print(line, flush=True)


def restore(root: Path, remote: bool) -> None:
    """Results and run cache from the DVC remote, then imports brought up to date; other data follow their committed pointer."""
    if not remote:
        say("restore  no DVC remote (dvc remote add -d NAME URL): nothing is pulled or pushed")
    elif versions.dvc(root, "pull", "--run-cache", "--allow-missing"):
        raise SeesawError("dvc pull failed; its lines above say why. Mend the remote, or take it away (dvc remote unset) to go without")
    pointers = versions.imports(root)
    for pointer in pointers:
        if versions.dvc(root, "update", pointer):
            raise SeesawError(f"dvc update {pointer} failed; its lines above say why")
    say(f"data     {', '.join(pointers)} brought up to date" if pointers else "data     nothing is imported: the committed state decides")


def push(root: Path, remote: bool) -> None:
    """Outputs and run cache to the DVC remote, after a failed run too: the next job goes on from there."""
    if remote and versions.dvc(root, "push", "--run-cache"):
        say("push     dvc push failed; its lines above say why. The next job trains again what is missing there")


def show(root: Path) -> str:
    """Bring MLflow up to date; a server that is down costs a line, not the gate."""
    from stages.sync import sync

    try:
        line = str(sync(root))
    except SeesawError as error:
        line = f"MLflow   not brought up to date: {error}"
    say(line)
    return line


def propose(root: Path, decision: Decision) -> str:
    """A branch with dvc.lock and the champion, and a pull request where there is a token; what was done, in a line.

    The branch is named by its content, so that a job that comes to the same end again proposes nothing new.
    """
    changes = versions.changed(root)
    if not changes:
        return "propose  nothing changed"
    told = f"propose  changed: {listed(changes)}"
    if not (os.environ.get("CI") or github.token()):
        return f"{told}; not a CI job, so commit them yourself"
    if not versions.has_origin(root):
        return f"{told}; git has no remote named origin"
    title = f"Retrained: {decision.outcome}"
    commit, tree = versions.commit(root, f"{title}\n\n{decision.reason}\n")
    branch = f"retrain/{tree[:12]}"
    if not versions.push_branch(root, branch, commit):
        return f"{told}; branch {branch} proposes them already"
    token = github.token()
    if token is None:
        return f"{told}; branch {branch} is pushed (no GH_TOKEN or GITHUB_TOKEN: no pull request)"
    base = os.environ.get("GITHUB_REF_NAME", "main")
    return f"{told}; {github.open_pull_request(branch, base, title, body(root, decision), token)}"


def listed(changes: Sequence[str], most: int = 4) -> str:
    """The first few names."""
    return ", ".join(changes[:most]) + (f" and {len(changes) - most} more" if len(changes) > most else "")


def body(root: Path, decision: Decision) -> str:
    """What the gate said, then the report."""
    return f"```\n{decision}\n```\n\n{report(root)}"


def report(root: Path) -> str:
    """report.md, with links into MLflow where sync could make them; or a word in its place."""
    found = [path for path in (root / layout.SUMMARY, root / layout.REPORT / "report.md") if path.exists()]
    return found[0].read_text(encoding="utf-8") if found else "no report was written\n"


def tell(root: Path, lines: Sequence[str], decision: Decision) -> None:
    """The job's page and its output `gate`, where GitHub runs this."""
    block = "\n".join(lines)
    github.summary(f"```\n{block}\n```\n\n{report(root)}")
    github.append("GITHUB_OUTPUT", f"gate={decision.outcome}")
