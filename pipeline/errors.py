"""What can go wrong with a question asked of cubes. The command shows these messages alone."""


class VerbError(ValueError):
    """The cubes or the choices given to a verb do not fit; the message says what was wanted."""


class PlanError(VerbError):
    """A result cannot be computed within the memory there is, or in a sensible number of tasks."""
