"""A store behind an fsspec URL: a local S3 server, on loopback."""

import boto3
import fsspec
import pytest
import xarray as xr
from moto.server import ThreadedMotoServer

import stores
from pipeline.fill import fill, lazy_source, shard_blocks
from stores.place import Place

MADE = {"step": "test/1"}


@pytest.fixture
def root(monkeypatch):
    """A bucket. fsspec keeps file systems, each with the options it was made with, while the process lives."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    where = {"endpoint_url": f"http://{host}:{port}"}
    options = {"key": "test", "secret": "test", "client_kwargs": {"region_name": "us-east-1"}}
    monkeypatch.setitem(fsspec.config.conf, "s3", where | options)
    boto3.client(
        "s3", **where, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    ).create_bucket(Bucket="lab")
    yield "s3://lab/store"
    server.stop()


def test_a_cube_on_s3__is_made_refused_resumed_opened_and_verified(root, monkeypatch):
    monkeypatch.setattr("stores.layout.SHARD_BYTES", 60 * 10 * 4)
    monkeypatch.setattr("stores.layout.CHUNK_BYTES", 60 * 4 * 4)
    for look in (stores.catalog, stores.verify):
        with pytest.raises(stores.NotFoundError, match="there is no store s3://lab/store"):
            look(root)
    cube = stores.simulate("meg_epochs", stimuli=20, units=8, times=5, repeats=1).chunk(unit=4)
    with stores.writing(root, "meg/sub-01", cube, made_from=MADE) as target:
        with pytest.raises(stores.LockedError):
            stores.save(root, "meg/sub-01", cube, made_from=MADE)
        first = target.regions()[0]
        stores.write_region(target, first, cube[first].compute().values)
    with pytest.raises(stores.IncompleteError):
        stores.open_cube(root, "meg/sub-01")
    with stores.writing(root, "meg/sub-01", cube, made_from=MADE) as target:
        tasks = fill({"meg/sub-01": target}, shard_blocks(target), lazy_source(cube, "meg/sub-01"))
        assert tasks == len(target.regions()) - 1
    xr.testing.assert_equal(stores.open_cube(root, "meg/sub-01").compute(), cube.compute())
    assert list(stores.catalog(root).index) == ["meg/sub-01"]
    assert stores.verify(root) == []
    (name, *_) = target.shards_of(first)
    (Place.of(root) / "meg/sub-01").delete(name)
    assert [fault.what for fault in stores.verify(root)] == ["is gone"]
    with pytest.raises(stores.CorruptError, match="is gone"):
        stores.open_cube(root, "meg/sub-01").compute(scheduler="synchronous")


def test_remote_store_without_credentials_is_one_paragraph(neurocube, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    code, _, err = neurocube("verify", "s3://neurocube-has-no-such-bucket/store")
    assert code == 2
    assert "Unable to locate credentials" in err
    assert len(err.splitlines()) == 1
