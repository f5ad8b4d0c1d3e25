"""The one exception a user's mistake ends in."""


def printable(text: str) -> str:
    """The text on one line, with every character escaped that a terminal would act on: line ends, colours, the cursor."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


class SeesawError(Exception):
    """A mistake a person can mend: its text says what came, what is allowed, and what to do.

    The command line prints it as one line and exits with 1; a traceback is left to real bugs. What a file or a name brought into the
    text cannot act on the terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(printable(line) for line in message.split("\n")))
