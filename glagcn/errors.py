"""The one exception that speaks to users."""


class UserError(ValueError):
    """Something the user gave is wrong: a flag, a file, a value.

    The message says what and where, what was found, what was expected and what to do.  The commands print it
    as it is, without a traceback, and exit with code 2; any other exception is a bug of ours.
    """
