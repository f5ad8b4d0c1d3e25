"""Tracking servers that fail: never answer, answer 500, or stand before a real one and drop, delay or refuse some of its calls."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Fault = Callable[[int], str]  # number of a request (from 1) to what happens to it: a key of FAULTS, or "" for nothing
FAULTS = ("hang", "error", "drop before", "drop after", "delay")


class Served(NamedTuple):
    """A server under test: where it is, and every request that reached it as (number, fault)."""

    address: str
    seen: list[tuple[int, str]]


@contextmanager
def server(fault: Fault, behind: str = "") -> Iterator[Served]:
    """Answer on the loopback address; what is not at fault goes to the server at `behind` (none: the connection is closed)."""
    seen: list[tuple[int, str]] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            number = len(seen) + 1
            what = fault(number)
            seen.append((number, what))
            if what == "hang":
                over.wait(120)
            elif what == "delay":
                time.sleep(0.3)
            if what == "error":
                self.send_error(500)
            elif what not in ("hang", "drop before") and behind:
                self.pass_on(body, silent=what == "drop after")
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def pass_on(self, body: bytes, silent: bool) -> None:
            host = behind.removeprefix("http://")
            connection = http.client.HTTPConnection(host, timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            connection.request(self.command, self.path, body, {**headers, "Host": host, "Connection": "close"})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if silent:
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: the test says what it saw."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that ended in the middle of an answer is what is tested."""

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serving = Quiet(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{port}", seen)
    finally:
        over.set()
        serving.shutdown()
        serving.server_close()
        thread.join()
