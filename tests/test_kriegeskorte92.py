"""The 92-object study as a person runs it: known numbers, and kills that change nothing."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr
from scipy.stats import pearsonr

import stores
from tests.shared import shared

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
STUDY = ROOT / "examples" / "studies" / "kriegeskorte92.yaml"
KILLS = 20
TRAINED, UNTRAINED = "squeezenet1_0-caffe", "squeezenet1_0-caffe-untrained-0"


def command(store):
    data = shared("data/rsa92-kriegeskorte2008").parent
    script = Path(sys.executable).parent / "neurocube"
    return [script, "run", STUDY, "--set", f"data={data}", "--set", f"store={store}"]


def start(store):
    # No pipe: a killed run would leave it open, and nobody reads it.
    return subprocess.Popen(command(store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(store):
    done = subprocess.run(command(store), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shards(store):
    """Every shard by name: its inode and time, which change when it is written again."""
    found = {}
    for path in Path(store).rglob("values/c/**/*"):
        try:
            if path.is_file() and not path.name.endswith(".partial"):
                found[str(path.relative_to(store))] = (path.stat().st_ino, path.stat().st_mtime_ns)
        except FileNotFoundError:  # a partial file that was renamed in between
            continue
    return found


def bytes_of(store):
    return {name: (Path(store) / name).read_bytes() for name in shards(store)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    began = time.monotonic()
    said = run(store)
    return store, said, time.monotonic() - began


def table(store, name):
    script = Path(sys.executable).parent / "neurocube"
    said = subprocess.run([script, "show", store, name, "--csv"], capture_output=True, text=True, check=True)
    return pd.read_csv(io.StringIO(said.stdout))


def test_known_numbers(undisturbed):
    store, said, _ = undisturbed
    human, monkey = (
        stores.open_cube(store, f"objects92/{name}-it").compute() for name in ("human", "monkey")
    )
    r = pearsonr(human.mean("subject").values.ravel(), monkey.values.ravel())[0]
    assert r == pytest.approx(0.4912, abs=5e-5)
    scores = table(store, "rsa/human-it")
    assert {"network", "layer", "score", "ceiling_lower", "ceiling_upper"} <= set(scores.columns)
    score = scores.set_index(["network", "layer"])["score"]
    assert score[TRAINED, "fire9"] == pytest.approx(0.299, abs=1e-3)
    assert score[UNTRAINED, "fire9"] < 0.08
    assert len(score) == 20
    assert (scores["ceiling_lower"] < scores["ceiling_upper"]).all()
    assert len(table(store, "rsa/monkey-it")) == 20
    assert "dashboard: http://127.0.0.1:" in said
    assert (store / "report.html").stat().st_size > 50_000
    assert (store / "kriegeskorte92-dask.html").exists()
    assert stores.verify(store) == []


def test_second_run_makes_nothing_again(undisturbed):
    store, _, took = undisturbed
    before = shards(store)
    began = time.monotonic()
    said = run(store)
    assert shards(store) == before
    assert said.count("(there already)") == 3 + 20 + 4  # imports, layers, RDMs and scores of two steps
    assert time.monotonic() - began < took


def test_twenty_kills_change_nothing(undisturbed, tmp_path):
    reference, _, took = undisturbed
    rng, kills, round_, kept = random.Random(0), 0, 0, {}
    while kills < KILLS:
        store = tmp_path / f"store{round_}"
        process = start(store)
        try:
            process.wait(timeout=rng.uniform(0.1, min(took, 30)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            kept = shards(store)
            continue
        assert process.returncode == 0
        same(reference, store, kept)
        round_, kept = round_ + 1, {}
    run(tmp_path / f"store{round_}")
    same(reference, tmp_path / f"store{round_}", kept)


def same(reference, store, kept):
    """Results are the same to the bit, and what the last killed run had finished was not made again."""
    assert bytes_of(store) == bytes_of(reference)
    now = shards(store)
    # A shard is kept when its cube was created whole before the kill; one that a dying worker renamed later too.
    assert {name: now[name] for name in kept} == kept
    for name in ("rsa/human-it", "rsa/monkey-it"):
        ours, theirs = (stores.open_cube(root, name).compute() for root in (store, reference))
        xr.testing.assert_identical(ours, theirs)
    assert stores.verify(store) == []


def test_killed_worker_changes_nothing(undisturbed, tmp_path):
    reference, _, _ = undisturbed
    store = tmp_path / "store"
    process = start(store)
    while not any("activations" in name for name in shards(store)):
        assert process.poll() is None, "the run ended before a shard was there"
        time.sleep(0.05)
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    os.kill(workers[0].pid, signal.SIGKILL)
    assert process.wait() == 0
    assert bytes_of(store) == bytes_of(reference)
    np.testing.assert_array_equal(
        stores.open_cube(store, "rsa/human-it"), stores.open_cube(reference, "rsa/human-it")
    )
