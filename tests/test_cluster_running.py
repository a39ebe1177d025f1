"""A cluster as it runs: what it listens on, what its workers have, what it leaves behind."""

import copy
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dask
import psutil
import pytest
import torch  # noqa: F401  (imported here so that its start-up is not counted into the cluster's)
from distributed import Security

from pipeline import cluster
from pipeline.cluster import local
from pipeline.cluster.config import ClusterConfig, ClusterError, Existing, Local, Tls
from tests import cluster_tasks as tasks

ROOT = Path(__file__).parent.parent
ROLES = ("client", "scheduler", "worker")
TWO_KINDS = ClusterConfig(
    dask={"distributed": {"worker": {"memory": {"target": 0.55}}, "comm": {"timeouts": {"connect": "17s"}}}},
    profiles={
        "local": Local(
            dashboard_address="127.0.0.1:0",
            workers={
                "cpu": {"n_workers": 1, "threads_per_worker": 2, "memory_limit": "700 MB"},
                "gpu": {"n_workers": 1, "memory_limit": "900 MB", "resources": {"GPU": 1}},
            },
        )
    },
)


def one_worker(**more):
    small = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "1 GB"}
    settings = small | {"dashboard_address": "127.0.0.1:0"} | more
    return ClusterConfig(profiles={"local": Local(**settings)})


def children():
    """Every process below this one, but the interpreter's resource tracker, which lives as long as we do."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "resource_tracker" not in " ".join(process.cmdline())]


@pytest.fixture
def certificates(tmp_path):
    """A self-signed certificate for every role, in files."""
    temporary = Security.temporary()
    files = {}
    for name in ("tls_ca_file", *(f"tls_{who}_{what}" for who in ROLES for what in ("cert", "key"))):
        files[name] = str(tmp_path / f"{name}.pem")
        Path(files[name]).write_text(getattr(temporary, name))
    return Tls(**files)


@pytest.fixture(scope="module")
def client():
    with cluster.start(TWO_KINDS) as client:
        yield client


def test_start__listens_on_loopback_only(client):
    listening = [
        connection.laddr.ip
        for process in [psutil.Process(), *children()]
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN or connection.type == socket.SOCK_DGRAM
    ]
    assert len(listening) >= 6, "scheduler, dashboard, two nannies and two workers listen"
    assert set(listening) == {"127.0.0.1"}


def test_start__workers_have_threads_memory_and_resources_of_the_file(client):
    workers = {info["name"]: info for info in client.scheduler_info(n_workers=-1)["workers"].values()}
    assert {name: info["nthreads"] for name, info in workers.items()} == {"cpu-0": 2, "gpu-0": 1}
    assert {name: info["memory_limit"] for name, info in workers.items()} == {"cpu-0": 7e8, "gpu-0": 9e8}
    assert cluster.limits(client) == cluster.Limits(2, 3, 700_000_000, {"GPU": 1.0})


def test_start__resources_place_tasks(client):
    ran = client.gather([client.submit(tasks.where, resources={"GPU": 1}, pure=False) for _ in range(20)])
    assert ran == ["gpu-0"] * 20


def test_start__libraries_in_workers_use_one_thread_each(client):
    for torch_threads, pools in client.run(tasks.library_threads).values():
        assert torch_threads == 1
        assert pools
        assert set(pools) == {1}


def test_start__zarr_in_workers_is_set_up(client):
    assert set(client.run(tasks.zarr_settings).values()) == {(4, True)}


def test_start__dask_block_is_merged(client):
    for key, want in {
        "distributed.worker.memory.target": 0.55,
        "distributed.worker.memory.pause": 0.8,  # a sibling, as Dask has it
        "distributed.comm.timeouts.connect": "17s",
        "distributed.comm.timeouts.tcp": "30s",
        "distributed.worker.multiprocessing-method": "spawn",
    }.items():
        assert dask.config.get(key) == want
        assert set(client.run(tasks.dask_setting, key).values()) == {want}
    assert all(
        spill > 0 for spill in client.run(tasks.dask_setting, "distributed.worker.memory.max-spill").values()
    )


def test_existing__connects_to_a_running_cluster(client):
    there = ClusterConfig(
        profiles={"existing": Existing(address=client.scheduler.address, dask={"distributed": {"x": 1}})}
    )
    with cluster.start(there, profile="existing") as second:
        assert second.submit(sum, [1, 2]).result() == 3
        assert cluster.limits(second) == cluster.limits(client)
        assert cluster.dashboard_link(second) == cluster.dashboard_link(client)
        assert dask.config.get("distributed.x") == 1
    assert client.submit(sum, [3, 4]).result() == 7, "the cluster is not ours to stop"
    assert dask.config.get("distributed.x", None) is None


def test_performance_report__is_whole_and_needs_no_network(client, tmp_path):
    path = tmp_path / "new" / "performance.html"
    with cluster.performance_report(client, path):
        client.submit(sum, [1, 2], key="a-task-to-find").result()
    page = path.read_text()
    assert "a-task-to-find" in page
    assert '<script type="text/javascript" src=' not in page
    assert list(path.parent.iterdir()) == [path]


def test_performance_report__keeps_the_error_of_its_block(client, tmp_path):
    with pytest.raises(ZeroDivisionError), cluster.performance_report(client, tmp_path / "p.html"):
        client.submit(divmod, 1, 0).result()
    assert (tmp_path / "p.html").exists()


def test_performance_report__of_a_failed_or_idle_block_replaces_none(client, tmp_path):
    page = tmp_path / "p.html"
    page.write_text("of a run that worked")
    with pytest.raises(ZeroDivisionError), cluster.performance_report(client, page):
        client.submit(divmod, 1, 0).result()
    with cluster.performance_report(client, page, wanted=lambda: False):
        client.submit(sum, [1, 2]).result()
    assert page.read_text() == "of a run that worked"
    with cluster.performance_report(client, page):
        client.submit(sum, [1, 2]).result()
    assert page.read_text() != "of a run that worked"


def test_performance_report__unwritable_path_is_said_and_fails_nothing(client, tmp_path, caplog):
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING), cluster.performance_report(client, tmp_path / "file" / "p.html"):
        done = client.submit(sum, [1, 2]).result()
    assert done == 3
    assert "no Dask performance report at" in caplog.text


@pytest.mark.slow
def test_performance_report__dying_scheduler_is_said_and_fails_nothing(tmp_path, caplog):
    path = tmp_path / "p.html"
    soon = {"distributed": {"comm": {"timeouts": {"connect": "2s"}}}}
    with (
        caplog.at_level(logging.WARNING),
        cluster.start(one_worker(dask=soon)) as mine,
        cluster.performance_report(mine, path),
    ):
        done = mine.submit(sum, [1, 2]).result()
        mine.cluster.sync(mine.cluster.scheduler.close)
    assert done == 3
    assert "no Dask performance report at" in caplog.text
    assert not path.exists()


def test_start__leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(dask.config.config, "temporary-directory", None)
    before = copy.deepcopy(dask.config.config), dict(os.environ), {process.pid for process in children()}
    with cluster.start(one_worker(dask={"distributed": {"new": {"key": 1}}})) as client:
        assert list(tmp_path.iterdir())
        assert len(children()) > len(before[2])
        assert dask.config.get("distributed.new.key") == 1
    assert client.status == "closed"
    assert (dask.config.config, dict(os.environ), {process.pid for process in children()}) == before
    assert list(tmp_path.iterdir()) == []


def test_start__local_directory_of_the_file_is_used(tmp_path):
    folder = tmp_path / "scratch"
    with cluster.start(one_worker(local_directory=str(folder))) as client:
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
        assert worker["local_directory"].startswith(str(folder))
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in left} == {"global.lock", "purge.lock"}
    assert all(path.stat().st_size == 0 for path in left)


def test_start__interrupted_while_workers_start_leaves_nothing_behind(tmp_path, monkeypatch):
    class Interrupted(local.SpecCluster):
        kicked = False

        def _correct_state(self):
            if not self.kicked:
                self.kicked = True
                os.kill(os.getpid(), signal.SIGINT)
            return super()._correct_state()

    monkeypatch.setattr(local, "SpecCluster", Interrupted)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = copy.deepcopy(dask.config.config), dict(os.environ), {process.pid for process in children()}
    try:
        with pytest.raises(KeyboardInterrupt), cluster.start(one_worker()):
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)
    assert (dask.config.config, dict(os.environ), {process.pid for process in children()}) == before
    assert list(tmp_path.iterdir()) == []


def test_start__tls_refuses_whoever_has_no_certificate(certificates):
    config = one_worker(security=certificates)
    with cluster.start(config) as mine:
        address = mine.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert mine.submit(sum, [1, 2]).result() == 3
        assert all(worker.startswith("tls://") for worker in mine.scheduler_info(n_workers=-1)["workers"])
        there = Existing(address=address, security=certificates)
        with cluster.start(ClusterConfig(profiles={"existing": there}), "existing") as second:
            assert second.submit(sum, [3, 4]).result() == 7
        plain = Existing(address=address.replace("tls://", "tcp://"), timeout=2.0)
        with (
            pytest.raises(ClusterError, match="no Dask scheduler answers"),
            cluster.start(ClusterConfig(profiles={"existing": plain}), "existing"),
        ):
            pass


def test_dashboard__busy_port_falls_back_to_another():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with cluster.start(one_worker(dashboard_address=f"127.0.0.1:{port}")) as client:
            link = cluster.dashboard_link(client)
    assert link.startswith("http://127.0.0.1:")
    assert f":{port}/" not in link


def test_start__scratch_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ClusterError, match="cannot keep scratch files"),
        cluster.start(one_worker(local_directory=str(tmp_path / "file" / "x"))),
    ):
        pass


def test_start__busy_scheduler_port_is_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = one_worker(scheduler_port=taken.getsockname()[1])
        with pytest.raises(ClusterError, match="did not start"), cluster.start(config):
            pass


def test_existing__nobody_there_is_an_error_within_seconds():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        config = ClusterConfig(
            profiles={"existing": Existing(address=f"tcp://127.0.0.1:{free.getsockname()[1]}", timeout=1.0)}
        )
        begun = time.monotonic()
        with (
            pytest.raises(ClusterError, match="no Dask scheduler answers"),
            cluster.start(config, "existing"),
        ):
            pass
    assert time.monotonic() - begun < 6


def run_script(tmp_path, text, **more):
    script = tmp_path / "script.py"
    script.write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


LOCAL = "Local(n_workers=1, memory_limit='1 GB', dashboard_address='127.0.0.1:0')"
SCRIPT = f"""
from pipeline import cluster
from pipeline.cluster.config import Local
def main():
    with cluster.start(cluster.ClusterConfig(profiles={{'local': {LOCAL}}})) as client:
        print(client.submit(sum, [1, 2]).result())
"""


def test_script__with_guard_prints_only_its_own_words(tmp_path):
    out, err = run_script(tmp_path, SCRIPT + "if __name__ == '__main__':\n    main()\n").communicate(
        timeout=60
    )
    assert (out, err) == ("3\n", "")


def test_script__failed_task_is_raised_and_not_logged_as_well(tmp_path):
    fails = "print(repr(client.submit(divmod, 1, 0).exception()))"
    still_at_work = "import time; left = client.submit(time.sleep, 60); time.sleep(1)"
    text = SCRIPT.replace("print(", f"{fails}; {still_at_work} #")
    out, err = run_script(tmp_path, text + "if __name__ == '__main__':\n    main()\n").communicate(timeout=60)
    assert out.startswith("ZeroDivisionError")
    assert err == ""


def test_script__interrupted_by_its_terminal_ends_workers_without_their_word(tmp_path):
    waits = "import os, time; print(*client.run(os.getpid).values(), flush=True); time.sleep(60) #"
    # Ctrl-C as at a terminal: a shell's background job, such as this test may be in, has its children ignore it.
    text = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)" + SCRIPT
    text = text.replace("print(", waits) + (
        "if __name__ == '__main__':\n    try:\n        main()\n    except KeyboardInterrupt:\n        pass\n"
    )
    run = run_script(tmp_path, text, start_new_session=True)
    workers = [psutil.Process(int(pid)) for pid in run.stdout.readline().split()]
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to every process of the group
    _, err = run.communicate(timeout=20)
    assert (run.returncode, err) == (0, "")
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_script__without_guard_is_told(tmp_path):
    run = run_script(tmp_path, SCRIPT + "main()\n")
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1
    assert 'start it under `if __name__ == "__main__":`' in err.strip().splitlines()[-1]


def test_script__killed_takes_its_workers_along(tmp_path):
    waits = "import os, time; print(*client.run(os.getpid).values(), flush=True); time.sleep(60) #"
    text = SCRIPT.replace("print(", waits)
    run = run_script(tmp_path, text + "if __name__ == '__main__':\n    main()\n")
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert len(pids) == 1
    workers = [psutil.Process(pid) for pid in pids]
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=20)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
