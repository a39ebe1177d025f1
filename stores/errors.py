"""What can go wrong with data at rest. Every message says what is there, what was wanted, and what to do."""


class StoreError(Exception):
    """A user-facing fault of data at rest; its message needs no traceback to be understood."""


class SchemaError(StoreError):
    """A cube or result does not look like its modality's spec; the message lists every fault."""


class IncompleteError(StoreError):
    """The cube was never finished: a run is still filling it, or was killed."""


class CorruptError(StoreError):
    """Bytes on disk differ from what was written, or are gone."""


class KeyMismatchError(StoreError):
    """A cube of this name exists and was made from something else."""


class LockedError(StoreError):
    """Another process is writing this cube."""


class NotFoundError(StoreError):
    """No cube of this name in this store."""


class AlignError(StoreError):
    """Stimulus ids cannot be joined: duplicates, or nothing in common."""


class InputError(StoreError):
    """A source file or folder is missing, unreadable, or not what its reader expects."""


class FullError(StoreError):
    """The device that holds the store has no space left."""
