"""What `cluster.yaml` may say, as frozen records. Parsed once, by `pipeline.cluster.read`."""

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from dask.utils import parse_bytes
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationInfo,
    model_validator,
)

LOOPBACK: Final = "127.0.0.1"
SMALLEST: Final = 10**6
"""Bytes below which a size is a slip of the pen, such as "0.5" for 0.5 or "4" for "4 GB"."""


class ClusterError(ValueError):
    """A fault of the cluster file, or a cluster that does not start or answer; its message stands alone."""


def _path(text: str, info: ValidationInfo) -> str:
    """`text` with `~` and `${NAME}` filled in; a relative path starts at the cluster file's folder."""
    if missing := [name for name in re.findall(r"\$\{(\w+)\}", text) if name not in os.environ]:
        raise ValueError(f"{text!r} needs the environment variable {missing[0]}, which is not set")
    filled = re.sub(r"\$\{(\w+)\}", lambda found: os.environ[found[1]], text)
    folder = (info.context or {}).get("folder", Path())
    return str(folder / Path(filled).expanduser())


def _file(path: str) -> str:
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    return path


def _size(value: int | float | str | None) -> int | float | str | None:
    if value is None or value == "auto":
        return value
    try:
        size = parse_bytes(value)
    except (ValueError, OverflowError):
        size = 0
    if size < SMALLEST:
        raise ValueError(
            f"{value!r} is not a size of 1 MB or more; give bytes, a text such as '4 GiB', or leave it out"
        )
    return value


def _memory(value: int | float | str | None) -> int | float | str | None:
    # As Dask reads it, a number with a point, up to 1.0, is a share of the machine.
    return value if isinstance(value, float) and 0 < value <= 1 else _size(value)


def _host_and_port(address: str) -> str:
    found = re.fullmatch(r"([\w.-]*|\[.*\]):([0-9]+)", address)
    if not found or int(found[2]) > 65535:
        raise ValueError(f"{address!r} is not a host and a port such as '{LOOPBACK}:8787'")
    if found[1].startswith("["):
        raise ValueError(f"{address!r} is IPv6, which Dask's dashboard does not take; use {LOOPBACK}")
    return address


def _scheduler(address: str) -> str:
    found = re.fullmatch(r"((tcp|tls|ws|wss)://)?([\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]+)", address)
    if not found or int(found[4]) > 65535:
        raise ValueError(f"{address!r} is not the address of a scheduler such as 'tcp://{LOOPBACK}:8786'")
    return address


PathText = Annotated[str, AfterValidator(_path)]
FileText = Annotated[str, AfterValidator(_path), AfterValidator(_file)]
Memory = Annotated[int | float | str | None, AfterValidator(_memory)]
Size = Annotated[int | float | str | None, AfterValidator(_size)]
HostPort = Annotated[str, AfterValidator(_host_and_port)]
SchedulerAddress = Annotated[str, AfterValidator(_scheduler)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DaskConfig = dict[str, Any]


class Record(BaseModel):
    """A part of the file: nothing in it changes, and no key is unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tls(Record):
    """Certificate and key files by the names of `distributed.Security`; encryption is then required."""

    tls_ca_file: FileText
    tls_client_cert: FileText | None = None
    tls_client_key: FileText | None = None
    tls_scheduler_cert: FileText | None = None
    tls_scheduler_key: FileText | None = None
    tls_worker_cert: FileText | None = None
    tls_worker_key: FileText | None = None


class Group(Record):
    """Workers that are alike. `resources` are what they offer, such as `{GPU: 1}`."""

    n_workers: PositiveInt = 1
    threads_per_worker: PositiveInt = 1
    memory_limit: Memory = None
    resources: dict[str, Amount] = Field(default_factory=dict)


class Local(Record):
    """Worker processes on this machine, by the keywords of `dask.distributed.LocalCluster`.

    Left out, `n_workers` x `threads_per_worker` fills the cores, one worker per core, and memory is split
    evenly. `workers` takes named groups instead, where some workers are to differ from others.
    blas_threads : threads of each BLAS, OpenMP or torch call inside one worker thread.
    max_spill : most bytes one worker may spill to disk; left out, its share of half the free space.
    """

    kind: Literal["local"] = "local"
    n_workers: PositiveInt | None = None
    threads_per_worker: PositiveInt | None = None
    memory_limit: Memory = None
    resources: dict[str, Amount] = Field(default_factory=dict)
    workers: dict[str, Group] = Field(default_factory=dict)
    blas_threads: PositiveInt = 1
    max_spill: Size = None
    local_directory: PathText | None = None
    host: str = LOOPBACK
    scheduler_port: Annotated[int, Field(ge=0, lt=65536)] = 0
    dashboard_address: HostPort = f"{LOOPBACK}:8787"
    security: Tls | None = None
    dask: DaskConfig = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        alone = {"n_workers", "threads_per_worker", "memory_limit", "resources"} & self.model_fields_set
        if self.workers and alone:
            raise ValueError(f"{', '.join(sorted(alone))} belongs inside the groups once there is `workers`")
        if self.security and not (self.security.tls_scheduler_cert and self.security.tls_worker_cert):
            raise ValueError("security needs tls_scheduler_cert and tls_worker_cert to start a cluster")
        return self

    @model_validator(mode="after")
    def _loopback_or_tls(self) -> Self:
        if ":" in self.host:
            raise ValueError(f"host {self.host!r} is IPv6, which Dask does not take here; use {LOOPBACK}")
        if not is_loopback(self.host) and self.security is None:
            raise ValueError(
                f"host {self.host!r} lets other machines reach the scheduler, and who reaches it can run any "
                f"code; leave host out to stay on {LOOPBACK}, or add `security:` with TLS files"
            )
        if not is_loopback(host_of(self.dashboard_address)):
            raise ValueError(
                f"dashboard_address {self.dashboard_address!r} lets other machines see the dashboard, "
                f"which has no password; use '{LOOPBACK}:8787' and reach it by "
                f"`ssh -L 8787:{LOOPBACK}:8787 HOST`"
            )
        return self


class Existing(Record):
    """A Dask cluster that is running already. `timeout` is how many seconds it has to answer."""

    kind: Literal["existing"] = "existing"
    address: SchedulerAddress
    security: Tls | None = None
    timeout: Amount = 5.0
    dask: DaskConfig = Field(default_factory=dict)

    @model_validator(mode="after")
    def _loopback_or_tls(self) -> Self:
        scheme = self.address.partition("://")[0] if "://" in self.address else "tcp"
        if scheme == "tls" and self.security is None:
            raise ValueError(f"address {self.address!r} is encrypted: `security:` with TLS files is needed")
        if scheme != "tls" and not is_loopback(host_of(self.address)):
            raise ValueError(
                f"address {self.address!r} is another machine and not encrypted; use a tls:// address with "
                f"`security:`, or tunnel it (`ssh -L 8786:{LOOPBACK}:8786 HOST`) and use tcp://{LOOPBACK}:8786"
            )
        return self


Profile = Local | Existing
KINDS: Final[Mapping[str, type[Local] | type[Existing]]] = MappingProxyType(
    {"existing": Existing, "local": Local}
)
"""How a cluster can be had. A new kind is one record here and one case in `pipeline.cluster.start`."""


class ClusterConfig(Record):
    """A whole cluster file. `default` is the profile used where none is named; `dask` is Dask config."""

    default: str = "local"
    dask: DaskConfig = Field(default_factory=dict)
    profiles: dict[str, Profile] = Field(default_factory=lambda: dict[str, Profile](local=Local()))

    def profile(self, name: str | None = None) -> Profile:
        """The profile called `name`, or the default one. Raises ClusterError where there is none."""
        wanted = name or self.default
        if wanted in self.profiles:
            return self.profiles[wanted]
        if "profiles" in self.model_fields_set:
            raise ClusterError(f"no profile {wanted!r} in the cluster file{near(wanted, self.profiles)}")
        raise ClusterError(
            f"no profile {wanted!r}: without a cluster file that has it, there is 'local' alone. Name the file "
            "with `--cluster FILE`: none is read by itself, also not a cluster.yaml in this folder"
        )


def near(word: object, known: Iterable[str]) -> str:
    """The known word that is closest to `word`, or all of them, to end a message with."""
    known = [str(one) for one in known]
    close = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f" (known here: {', '.join(known) or 'none'})"


def host_of(address: str) -> str:
    """The host in `tcp://host:port` or `host:port`; empty where only a port is given."""
    return urlsplit(address if "://" in address else f"//{address}").hostname or ""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Names other than localhost count as reachable by others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
