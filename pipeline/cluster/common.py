"""What both ways of having a cluster need: credentials and the reason of a failure."""

from distributed import Security

from pipeline.cluster.config import Tls


def security_of(tls: Tls | None) -> Security | None:
    """Dask's own record of the TLS files, with encryption required; None without them."""
    if tls is None:
        return None
    files = tls.model_dump(exclude_none=True)
    return Security(require_encryption=True, **files)


def reason(error: BaseException) -> str:
    """The first line of what went wrong underneath, or the name of the error where it says nothing."""
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
