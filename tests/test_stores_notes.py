"""Notes beside a cube's values: kept with the manifest, checked, replaced after a kill."""

import numpy as np
import pytest

import stores


@pytest.fixture
def noted(tmp_path):
    cube = stores.simulate("meg_epochs", stimuli=4, units=3, times=5)
    with stores.writing(tmp_path, "meg", cube, made_from={"step": "test/1"}) as target:
        stores.write_note(target, "run-1", {"killed": "before the end"})
        stores.write_note(target, "run-1", {"bads": ["MEG 0111"], "limits": {"mag": 4e-12}})
        stores.write_note(target, "run-2", {"bads": []})
        stores.finish(target, [stores.write_region(target, r, cube[r].values) for r in target.regions()])
    return tmp_path


def test_notes__are_what_was_written(noted):
    assert stores.notes(noted, "meg") == {
        "run-1": {"bads": ["MEG 0111"], "limits": {"mag": 4e-12}},
        "run-2": {"bads": []},
    }
    assert stores.verify(noted) == []
    assert list(stores.catalog(noted).index) == ["meg"]


def test_notes__of_a_cube_without_any(tmp_path):
    stores.save(
        tmp_path, "meg", stores.simulate("meg_epochs", stimuli=4, units=3, times=5), made_from={"a": 1}
    )
    assert stores.notes(tmp_path, "meg") == {}
    with pytest.raises(stores.NotFoundError, match=r"'mge'.*did you mean 'meg'"):
        stores.notes(tmp_path, "mge")


def test_notes__that_were_changed_or_are_gone_are_found(noted):
    file = noted / "meg" / "notes" / "run-1.json"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"0111", b"0112"))
    assert [fault.file for fault in stores.verify(noted)] == ["notes/run-1.json"]
    with pytest.raises(stores.CorruptError, match=r"notes/run-1\.json differs"):
        stores.notes(noted, "meg")
    assert np.isfinite(stores.open_cube(noted, "meg").values).all()
    file.unlink()
    with pytest.raises(stores.CorruptError, match=r"notes/run-1\.json differs"):
        stores.notes(noted, "meg")
    assert any(fault.file == "notes/run-1.json" for fault in stores.verify(noted))
