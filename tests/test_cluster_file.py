"""cluster.yaml: what it may say, and what is said about its faults."""

import copy
from pathlib import Path

import dask
import pytest
from pydantic import ValidationError

from pipeline import cluster
from pipeline.cluster.common import configured
from pipeline.cluster.config import ClusterError, Existing, Local
from pipeline.cluster.layout import environment, max_spill, plan_workers

GB = 10**9
SHIPPED = Path(__file__).parent.parent / "cluster.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "cluster.yaml"
        path.write_text(text)
        return path

    return write


def test_read__shipped_file_says_the_defaults():
    config = cluster.read(SHIPPED)
    assert config.profile() == cluster.read().profile() == Local()
    assert config.profile("existing") == Existing(address="tcp://127.0.0.1:8786")


def test_read__keeps_what_is_written(write):
    path = write(
        """
        default: mixed
        dask: {distributed: {comm: {timeouts: {connect: 7s}}}}
        profiles:
          mixed:
            kind: local
            workers:
              cpu: {n_workers: 3, memory_limit: 1 GB}
              gpu: {threads_per_worker: 2, memory_limit: 2000000000, resources: {GPU: 1}}
        """
    )
    plans = plan_workers(cluster.read(path).profile(), cores=8, memory=8 * GB)
    assert [plan.name for plan in plans] == ["cpu-0", "cpu-1", "cpu-2", "gpu-0"]
    assert [plan.memory for plan in plans] == [GB, GB, GB, 2 * GB]
    assert [plan.resources for plan in plans] == [(), (), (), (("GPU", 1.0),)]


def test_read__names_every_fault_at_once(write):
    path = write(
        """
        defualt: local
        dask: 3
        profiles:
          local: {n_worker: 2, memory_limit: lots}
          mixed: {kind: local, workers: {cpu: {threads: 1}}, n_workers: 2}
          fast: {kind: slurm}
          there: {kind: existing}
        """
    )
    with pytest.raises(ClusterError) as caught:
        cluster.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be used:")
    for fault in (
        "defualt: unknown key; did you mean 'default'?",
        "dask: ",
        "profiles.local.n_worker: unknown key; did you mean 'n_workers'?",
        "profiles.local.memory_limit: ",
        "profiles.mixed.workers.cpu.threads: unknown key (known here: n_workers, threads_per_worker, ",
        "profiles.fast.kind: unknown kind 'slurm' (known here: existing, local)",
        "profiles.there.address: is missing",
    ):
        assert f"  - {fault}" in message, message
    assert message.count("\n  - ") == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles: [1]", "profiles: is [1]"),
        ("profiles: {local: 3}", "profiles.local: is 3"),
        ("- 1", "holds a list; wanted the keys default, dask, profiles"),
        ("a: [", "is not YAML"),
        (
            "profiles: {local: {n_workers: 0}}",
            "profiles.local.n_workers: Input should be greater than 0, not 0",
        ),
        ("profiles: {local: {n_workers: two}}", "not 'two'"),
        ("profiles: {local: {resources: {GPU: 0}}}", "profiles.local.resources.GPU: "),
        ("profiles: {local: {dashboard_address: '8787'}}", "is not a host and a port"),
        ("profiles: {local: {dashboard_address: '127.0.0.1:99999'}}", "is not a host and a port"),
        ("profiles: {local: {dashboard_address: '[::1]:8787'}}", "is IPv6, which Dask's dashboard does not"),
        ("profiles: {local: {host: '::1'}}", "is IPv6, which Dask does not take here"),
        ("profiles: {existing: {address: '127.0.0.1'}}", "is not the address of a scheduler such as"),
        ("profiles: {existing: {address: 'tcp://127.0.0.1:x'}}", "is not the address of a scheduler"),
        ("profiles: {existing: {address: 'tcp://127.0.0.1:99999'}}", "is not the address of a scheduler"),
        ("profiles: {existing: {address: 'tcp://127.0.0.1:1', timeout: .inf}}", "a finite number, not inf"),
        ("profiles: {local: {kind: [local]}}", "unknown kind ['local']; did you mean 'local'?"),
        ("profiles: {local: {resources: {GPU: .inf}}}", "GPU: Input should be a finite number, not inf"),
        ("dask: &a {distributed: {x: *a}}", "is not YAML: found unconstructable recursive node"),
        ("profiles: {locla: {kind: locla}}", "did you mean 'local'?"),
        ("default: fast\nprofiles: {local: {}}", "default: there is no profile 'fast'"),
        ("profiles: {local: {n_workers: 1, workers: {a: {}}}}", "n_workers belongs inside the groups"),
        ("profiles: {local: {host: 0.0.0.0}}", "add `security:` with TLS files"),
        ("profiles: {local: {host: node7}}", "who reaches it can run any code"),
        ("profiles: {local: {dashboard_address: ':8787'}}", "ssh -L 8787:127.0.0.1:8787"),
        ("profiles: {existing: {address: 'tcp://10.0.0.3:8786'}}", "ssh -L 8786:127.0.0.1:8786"),
        ("profiles: {existing: {address: 'tls://10.0.0.3:8786'}}", "`security:` with TLS files is needed"),
        ("profiles: {local: {security: {tls_ca_file: gone.pem}}}", "there is no file"),
        (
            "profiles: {local: {host: '${HOST}'}}",
            "profiles.local.host: '${HOST}': ${...} is allowed in paths only",
        ),
        ("dask: {temporary-directory: '${TMP}'}", "dask.temporary-directory: '${TMP}'"),
        ("profiles: {local: {local_directory: '${NOT_SET_HERE}/x'}}", "NOT_SET_HERE, which is not set"),
    ],
)
def test_read__refuses(write, text, said):
    with pytest.raises(ClusterError) as caught:
        cluster.read(write(text))
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["memory_limit", "max_spill"])
@pytest.mark.parametrize(
    "size", ["'0'", "'0.5'", "-4 GiB", "0", "-0.5", "4", ".inf", ".nan", "inf", "1e400 GB", "'4 KB'"]
)
def test_read__refuses_what_is_no_size(write, key, size):
    with pytest.raises(ClusterError, match=rf"{key}: .* is not a size of 1 MB or more; give bytes"):
        cluster.read(write(f"profiles: {{local: {{{key}: {size}}}}}"))


def test_read__an_alias_may_stand_twice(write):
    path = write("profiles: {local: {workers: {a: &a {n_workers: 2}, b: *a, c: {<<: *a, n_workers: 1}}}}")
    groups = cluster.read(path).profile().workers
    assert [group.n_workers for group in groups.values()] == [2, 2, 1]


def test_read__missing_file_is_named(tmp_path):
    with pytest.raises(ClusterError, match=r"nothing\.yaml: No such file"):
        cluster.read(tmp_path / "nothing.yaml")


def test_read__fills_in_variables_in_paths(write, monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH_HERE", str(tmp_path / "fast"))
    profile = cluster.read(write("profiles: {local: {local_directory: '${SCRATCH_HERE}/dask'}}")).profile()
    assert profile.local_directory == str(tmp_path / "fast" / "dask")
    relative = cluster.read(write("profiles: {local: {local_directory: dask}}")).profile()
    assert relative.local_directory == str(tmp_path / "dask"), "a relative path starts at the file"


def test_config__is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        cluster.read().default = "existing"


def test_profile__unknown_name_is_answered_with_what_there_is():
    with pytest.raises(ClusterError, match=r"no profile 'exsting' in .*; did you mean 'existing'\?"):
        cluster.read(SHIPPED).profile("exsting")
    with pytest.raises(ClusterError, match=r"no profile 'fast' in .* \(known here: local, existing\)"):
        cluster.read(SHIPPED).profile("fast")
    with pytest.raises(ClusterError, match=r"there is 'local' alone\. Name the file with `--cluster"):
        cluster.read().profile("existing")


@pytest.mark.parametrize(
    ("profile", "want"),
    [
        (Local(), [(1, 2 * GB)] * 4),
        (Local(n_workers=2), [(2, 4 * GB)] * 2),
        (Local(threads_per_worker=2), [(2, 4 * GB)] * 2),
        (Local(n_workers=6), [(1, 8 * GB // 6)] * 6),
        (Local(n_workers=2, threads_per_worker=1, memory_limit="1 GB"), [(1, GB)] * 2),
        (Local(n_workers=1, memory_limit=0.5), [(4, 4 * GB)]),
        (
            Local(workers={"a": {"memory_limit": "6 GB"}, "b": {"n_workers": 2}}),
            [(1, 6 * GB), (1, GB), (1, GB)],
        ),
    ],
)
def test_plan__fills_the_machine(profile, want):
    plans = plan_workers(profile, cores=4, memory=8 * GB)
    assert [(plan.threads, plan.memory) for plan in plans] == want


def test_plan__more_memory_than_there_is_is_refused_with_numbers():
    with pytest.raises(ClusterError, match=r"ask for 11\.18 GiB of the 7\.45 GiB"):
        plan_workers(Local(n_workers=3, memory_limit="4 GB"), cores=4, memory=8 * GB)


@pytest.mark.parametrize("profile", [Local(memory_limit=1e-6), Local(n_workers=10_000)])
def test_plan__a_worker_without_memory_is_refused(profile):
    with pytest.raises(ClusterError, match=r"a worker would have .* of memory; raise"):
        plan_workers(profile, cores=4, memory=8 * GB)


def test_plan__blas_threads_stay_within_the_cores():
    assert (
        len(plan_workers(Local(n_workers=2, threads_per_worker=1, blas_threads=2), cores=4, memory=GB)) == 2
    )
    with pytest.raises(ClusterError, match="4 worker threads x 2 exceed the 4 cores; use at most 1"):
        plan_workers(Local(n_workers=4, blas_threads=2), cores=4, memory=GB)


def test_environment__carries_blas_threads():
    variables = environment(Local(blas_threads=3))
    threads = {name: value for name, value in variables.items() if name.endswith("_NUM_THREADS")}
    assert set(threads.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"} <= set(threads)


def test_environment__leaves_logging_to_whoever_sets_it():
    assert "DASK_LOGGING" in environment(Local())
    for key in ("logging", "distributed.logging"):
        with dask.config.set({key: {"distributed.worker": "warning"}}):
            assert "DASK_LOGGING" not in environment(Local())


def test_max_spill__is_bounded_by_the_disk(tmp_path):
    assert max_spill(Local(max_spill="3 GB"), 2, tmp_path) == 3 * GB
    assert 2 * max_spill(Local(), 2, tmp_path) == pytest.approx(max_spill(Local(), 1, tmp_path), rel=0.05)


def test_describe__says_what_would_start(write):
    text = """
        dask: {distributed: {worker: {memory: {target: 0.5}}}}
        profiles:
          local:
            workers:
              cpu: {n_workers: 2, memory_limit: 1 GiB}
              gpu: {memory_limit: 2 GiB, resources: {GPU: 1}}
          existing: {address: "tcp://127.0.0.1:8786"}
    """
    config = cluster.read(write(text))
    words = cluster.describe(config)
    assert "2 workers, 1 thread and 1.00 GiB each\n" in words
    assert "1 worker, 1 thread and 2.00 GiB each, offering GPU 1" in words
    assert "Dask config changed under: distributed" in words
    assert "the Dask cluster running at tcp://127.0.0.1:8786" in cluster.describe(config, "existing")


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("{distributed: 3}", r"dask\.distributed of the cluster file is 3; wanted keys \(.*worker, "),
        ("{distributed: }", r"dask\.distributed of the cluster file is None; wanted keys"),
        ("{distributed: {nanny: {pre_spawn_environ: x}}}", r"pre_spawn_environ .* is 'x'; wanted keys"),
        ("{distributed.worker: 3}", r"dask\.distributed\.worker of the cluster file is 3"),
        ("{distributed: {worker: {memory: {target: {a: 1}}}}}", r"target\.a of .*: Dask has one value above"),
        ("{temporary-directory: [1]}", r"dask\.temporary-directory is \[1\]; wanted the name of a folder"),
    ],
)
def test_describe__refuses_what_dask_would_trip_over(write, block, said):
    before = copy.deepcopy(dask.config.config)
    for text in (f"dask: {block}", f"profiles: {{local: {{dask: {block}}}}}"):
        with pytest.raises(ClusterError, match=said):
            cluster.describe(cluster.read(write(text)))
    assert dask.config.config == before


def test_describe__says_where_the_files_own_dask_config_has_scratch_files(write):
    text = """
        dask: {temporary-directory: /of/the/file}
        profiles: {local: {}, other: {kind: local, dask: {temporary-directory: /of/the/profile}}}
    """
    config = cluster.read(write(text))
    assert "scratch files: under /of/the/file, removed" in cluster.describe(config)
    assert "scratch files: under /of/the/profile, removed" in cluster.describe(config, "other")


def test_configured__takes_loggers_by_their_names():
    loggers = {"distributed": "error", "distributed.worker": "info"}
    config = cluster.ClusterConfig(dask={"logging": loggers})
    with configured(config, config.profile()):
        assert dask.config.get("logging") == loggers
