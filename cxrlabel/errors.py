"""The error that the command line prints as one line."""


class InputError(ValueError):
    """The user's file or option is wrong: names the place, what was found and what is expected."""


class WorkerError(RuntimeError):
    """A worker process died, as when memory runs out; nothing was written."""
