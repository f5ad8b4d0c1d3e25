"""Checks that penalties' factories share; a bad argument raises ValueError."""

SIDES = ("two", "one")


def at_least_zero(name: str, value: float) -> float:
    """`value` when it is a number of at least 0."""
    if not value >= 0:
        raise ValueError(f"{name} is {value}: a number of at least 0 is needed")
    return value


def one_of_the_sides(value: str) -> str:
    """`value` when it is `two` or `one`."""
    if value not in SIDES:
        raise ValueError(f"sides is {value!r}: allowed are {', '.join(SIDES)}")
    return value
