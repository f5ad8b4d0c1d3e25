"""The one exception a user's mistake ends in."""


class SeesawError(Exception):
    """A mistake a person can mend: its text says what came, what is allowed, and what to do.

    The command line prints it as one line and exits with 1; a traceback is left to real bugs.
    """
