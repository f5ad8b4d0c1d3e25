"""What the machine itself can do: a large matrix product and a large copy, with one thread and with all."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stages.benchmark import timing
from stages.benchmark.cases import wait
from stages.benchmark.tables import Section

SIDE = 1536  # of the matrices: 2 SIDE³ operations, far beyond the caches
COPIED = 64 * 2**20  # floats: 256 MiB read and 256 MiB written


def machine(seconds: float, device: str) -> Section:
    """Matrix products and copies; the rows of a graphics processor say "not measured" where none was asked for."""
    rows = [_limits("cpu", 1, seconds), _limits("cpu", processors(), seconds)]
    gpu = _limits("cuda", None, seconds) if device == "cuda" else {"device": "cuda", "threads": "", "GFLOP/s": None, "GB/s": None}
    return Section(
        "machine",
        "The machine's own limit",
        f"float32: a {SIDE} x {SIDE} matrix product (TF32 off), and a copy of 256 MiB (bytes read and written).",
        ("device", "threads", "GFLOP/s", "GB/s", "spread"),
        [*rows, gpu],
    )


def _limits(device: str, threads: int | None, seconds: float) -> dict[str, Any]:
    """Medians of both, done in turn; the spread is the product's."""
    left, right = (torch.randn(SIDE, SIDE, device=device) for _ in range(2))
    out, source = torch.empty_like(left), torch.ones(COPIED, device=device)
    copy = torch.empty_like(source)

    def product() -> None:
        torch.mm(left, right, out=out)
        wait(device)

    def copying() -> None:
        copy.copy_(source)
        wait(device)

    with using_threads(threads or 1):
        times = timing.in_turn({"product": product, "copy": copying}, seconds)
    speed = 2 * SIDE**3 / times["product"].median / 1e9
    return {
        "device": device,
        "threads": threads or "",
        "GFLOP/s": speed,
        "GB/s": 2 * source.nbytes / times["copy"].median / 1e9,
        "spread": times["product"].spread,
    }


def product_speed(device: str, seconds: float) -> float:
    """GFLOP/s of the matrix product with the threads that torch now has: what shares of the limit are shares of."""
    left, right = (torch.randn(SIDE, SIDE, device=device) for _ in range(2))
    out = torch.empty_like(left)

    def product() -> None:
        torch.mm(left, right, out=out)
        wait(device)

    return 2 * SIDE**3 / timing.in_turn({"product": product}, seconds)["product"].median / 1e9


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Inside, torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def described(device: str) -> dict[str, Any]:
    """What the numbers were taken on."""
    return {
        "processor": _processor(),
        "processors": processors(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "vector_unit": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """The processor's name as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
