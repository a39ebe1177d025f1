import numpy as np
import pytest

import stores
from stores.dims import STIMULUS
from stores.errors import AlignError
from stores.readers import things_behaviour as behaviour
from tests.layouts import things_behaviour as layout


@pytest.fixture
def scores(tmp_path):
    return behaviour.memorability(layout.memorability(tmp_path))


@pytest.fixture
def linking(tmp_path):
    return behaviour.concepts(layout.concepts(tmp_path))


def test_label__loses_no_row_for_a_missing_category(scores, linking):
    known = linking.isel({STIMULUS: linking.stimulus.values != "zebra"})
    found = stores.label(scores, known, "category", by="concept")
    assert found.sizes == scores.sizes
    assert found.attrs["unmatched"] == {"category": 13}
    assert found.sel(stimulus="zebra_01b").category.item() == "NA"
    assert found.sel(stimulus="bat1_14s").category.item() == "tool"
    assert int((found.category == "NA").sum()) == 4 * 13 + 13
    numeric = stores.label(found, known, "CR", by="concept")
    assert numeric.attrs["unmatched"] == {"category": 13, "CR": 13}
    assert int(np.isnan(numeric.CR).sum()) == 13
    assert numeric.sel(stimulus="camera1_02s").CR.item() == layout.score(2)
    stores.validate(numeric)


def test_label__joins_by_stem_in_whatever_order(scores):
    brain = stores.simulate("fmri", stimuli=20, units=3)
    picked = scores.stimulus.values[np.random.default_rng(3).permutation(scores.sizes[STIMULUS])[:20]]
    brain = brain.assign_coords(stimulus=picked)
    found = stores.label(brain, scores, "cr", "things_image_nr_paper")
    assert list(found.stimulus.values) == list(picked)
    wanted = [scores.sel(stimulus=one, unit="cr").item() for one in picked]
    np.testing.assert_array_equal(found.cr.values, wanted)
    by_number = scores.set_index(stimulus="things_image_nr_ascii").sel(
        stimulus=found.things_image_nr_paper.values
    )
    joined = by_number.sel(unit="cr").values.ravel()
    differ = found.things_image_nr_paper.values != scores.things_image_nr_ascii.sel(stimulus=picked).values
    wrong = ~((joined == found.cr.values) | (np.isnan(joined) & np.isnan(found.cr.values)))
    assert differ.any()
    np.testing.assert_array_equal(wrong, differ)


def test_label__without_names_takes_all_that_is_new(scores, linking):
    found = stores.label(scores, linking, by="concept")
    assert {"category", "CR", "dim_based_typ", "beh_typ"} <= set(found.coords)
    assert "unmatched" not in found.attrs
    again = stores.label(
        scores.assign_coords(file=scores.stimulus), scores.assign_coords(file=scores.stimulus)
    )
    assert set(again.coords) == {*scores.coords, "file", "cr"}


def test_label__keeps_whole_numbers_where_none_is_missing(scores):
    brain = scores.drop_vars(["things_image_nr_paper"])
    assert stores.label(brain, scores, "things_image_nr_paper").things_image_nr_paper.dtype.kind == "i"


def test_label__is_lazy(scores, computing_forbidden):
    brain = scores.isel(stimulus=slice(0, 5)).drop_vars("concept").chunk()
    with computing_forbidden():
        assert stores.label(brain, scores, "cr").chunks


def test_label__refuses_what_cannot_be_joined(scores, linking):
    with pytest.raises(
        AlignError, match=r"no stimulus of the cube, such as .*, is among those of the source"
    ):
        stores.label(scores, linking, "category")
    with pytest.raises(AlignError, match=r"no 'typicality'; it has the measures \['category', 'CR'"):
        stores.label(scores, linking, "typicality", by="concept")
    with pytest.raises(AlignError, match="has a coordinate 'concept' already"):
        stores.label(scores, scores, "concept")
    with pytest.raises(AlignError, match=r"no coordinate 'concepts' along its stimuli; it has .*'concept'"):
        stores.label(scores, linking, by="concepts")
    spelled = scores.assign_coords(stimulus=[f"{one}.jpg" for one in scores.stimulus.values])
    with pytest.raises(AlignError, match="differ only in file extension"):
        stores.label(spelled.drop_vars("concept"), scores, "concept")
    twice = scores.isel(stimulus=[0, 0, 1])
    with pytest.raises(AlignError, match="1 ids of 'stimulus' are not unique"):
        stores.label(scores, twice, "cr")
    several = stores.simulate("fmri", stimuli=4, units=2, repeats=2)
    with pytest.raises(AlignError, match=r"2 repeats of 'u.*average it first"):
        stores.label(several, several, str(several.unit.values[0]))
