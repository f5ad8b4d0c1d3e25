"""What GitHub gives a job: a summary page, outputs, pull requests. Everything comes from the environment variables that Actions sets."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

LONGEST_SUMMARY = 1_000_000  # bytes; GitHub refuses a summary above 1 MiB


def append(variable: str, text: str) -> bool:
    """Append text to the file that an environment variable names; False where it is not set."""
    name = os.environ.get(variable)
    if not name:
        return False
    with Path(name).open("a", encoding="utf-8") as file:
        file.write(text if text.endswith("\n") else text + "\n")
    return True


def summary(text: str) -> bool:
    """Put markdown on the job's page, cut where GitHub would refuse it."""
    short = text.encode()[:LONGEST_SUMMARY].decode(errors="ignore")
    return append("GITHUB_STEP_SUMMARY", short if short == text else f"{short}\n\n…cut: the whole report is in the artifacts\n")


def token() -> str | None:
    """The token that may open pull requests, with the repository it is for."""
    found = os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN")
    return found if found and os.environ.get("GITHUB_REPOSITORY") else None


def open_pull_request(branch: str, base: str, title: str, body: str, token: str) -> str:
    """Open a pull request through the REST API; what came of it, in a line."""
    api, repository = os.environ.get("GITHUB_API_URL", "https://api.github.com"), os.environ["GITHUB_REPOSITORY"]
    request = urllib.request.Request(  # noqa: S310
        f"{api}/repos/{repository}/pulls",
        json.dumps({"title": title, "head": branch, "base": base, "body": body[:60000]}).encode(),
        {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return f"pull request {json.load(answer)['html_url']}"
    except (urllib.error.URLError, OSError, KeyError, ValueError) as error:
        return f"no pull request ({error}): branch {branch} is pushed, open it by hand"
