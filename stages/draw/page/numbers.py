"""Numbers as a reader wants them: three figures, SI units, a dash for what does not exist."""

import math

DASH = "–"
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def figure(value: float | None, digits: int = 3) -> str:
    """Significant digits without exponents between 0.001 and a million: 0.0123, 1.23, 123, 1,230."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not -4 < exponent < 6:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")
    return f"{round(value, digits - 1 - exponent):,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def share(value: float | None) -> str:
    """A number between 0 and 1 with two decimals."""
    return DASH if value is None else f"{value:.2f}".replace("-", "−")


def chance(value: float | None) -> str:
    """A p-value: two figures, `< 0.001` below."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def quantity(value: float | None, unit: str = "") -> str:
    """With an SI prefix: 1.2 TFLOP."""
    if value is None:
        return DASH
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{figure(value / size)} {prefix}{unit}"
    return f"{figure(value)} {unit}".strip()
