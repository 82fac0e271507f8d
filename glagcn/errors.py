"""The exception whose message is for users, and the first line of other exceptions."""


class UserError(ValueError):
    """Something the user gave is wrong: a flag, a file, a value.

    The message says what and where, what was found, what was expected and what to do.  The commands print it
    as it is, without a traceback, and exit with code 2; any other exception is a bug of this program.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error, or its type if it has none: libraries add traces and advice."""
    return (str(error) or type(error).__name__).splitlines()[0]
