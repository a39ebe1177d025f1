"""The report: what a page says, that it is whole and inert, and the same for the same results."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import dask.array
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import report
from pipeline.errors import VerbError
from pipeline.report import terms
from pipeline.report.rdms import _places, _titles, cell, ordering, pairs_of, thinned
from stores.dims import CANDIDATE, PAIR, STIMULUS_A, STIMULUS_B, SUBJECT, TIME
from tests import report_results as made

TIMES = tuple(np.round(np.arange(-0.1, 0.4, 0.05), 3).tolist())
RHO = "\N{GREEK SMALL LETTER RHO}"
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Every tag with its attributes, the text of table cells row by row, and the text of the whole page."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.text, self.open = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.text += data
        if self.tables and "table" in self.open and self.open[-1] in ("td", "th", "span"):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    results = [
        made.rsa(),
        made.rsa(name="rsa/monkey-it", subjects=False),
        made.rdm(),
        made.rdm(30, subjects=3),
    ]
    results += [made.rsa(times=TIMES, name="rsa/meg"), made.ceiling()]
    report.write(
        path,
        title="SqueezeNet and IT",
        results=results,
        text="What was asked.\n\nMore of it.",
        notice="The brain data are simulated.",
        findings=["fire9 was planted and found."],
        parameters={"Metric": "correlation", "Seed": 1},
        categories=made.categories(),
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_write__says_what_was_asked_and_found(page):
    for said in (
        "SqueezeNet and IT",
        "What was asked.",
        "The brain data are simulated.",
        "fire9 was planted and found.",
        f"Closest to human-it: fire9 of squeezenet1_0 (Spearman {RHO} 0.230; noise ceiling 0.310 to 0.440).",
        f"Closest to monkey-it: fire9 of squeezenet1_0 (Spearman {RHO} 0.2",
        "Closest to meg: ",
        "92 stimuli, 4,186 pairs",
        "sorted into 6 categories",
        "92_Brain_RDMs.mat",
        made.MADE["content_key"],
    ):
        assert said in page.text
    assert page.open == []


def test_write__tables_have_every_row_and_mark_the_best(page):
    by_layer, plain, in_time, ceiling = page.tables
    assert [len(table) for table in page.tables] == [21, 21, 21, 2]
    assert by_layer[0][:6] == ["Network", "Layer", "Score", "Mean over subjects", "± SEM", "Noise ceiling"]
    assert [row[1] for row in by_layer[1:11]] == made.LAYERS, "layers stay in network order"
    assert [row[:2] for row in by_layer if row[-1] == "best layer"] == [
        [name, "fire9"] for name in made.NETWORKS
    ]
    assert plain[0][:3] == ["Network", "Layer", "Score"], "columns without any number are left out"
    assert in_time[0][3] == "Time of peak"
    assert ceiling == [["Lower", "Upper"], ["0.310", "0.440"]]


def test_write__best_row_carries_the_numbers_of_the_result(page):
    best = made.rsa().sel({CANDIDATE: "squeezenet1_0/fire9"}).isel({TIME: 0})
    (row,) = [row for row in page.tables[0] if row[:2] == ["squeezenet1_0", "fire9"]]
    assert row[2:6] == [
        f"{float(best):.3f}",
        f"{float(best['subject_score']):.3f}",
        "0.018",
        "0.310 to 0.440",
    ]


def test_write__page_needs_nothing_but_itself(html, page):
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed")]
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "data"):
            if name in attrs:
                assert attrs[name].startswith(("data:", "#")), (tag, name, attrs[name][:80])
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html


def test_write__page_is_accessible(page):
    tags = dict(page.tags)
    assert tags["html"] == {"lang": "en"}
    figures = [attrs["aria-label"] for _, attrs in page.tags if attrs.get("role") == "img"]
    assert len(figures) == len([tag for tag, _ in page.tags if tag == "svg"]) == 5
    assert all(len(alt) > 40 for alt in figures)
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.tags if tag == "th")
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = {attrs[name][1:] for _, attrs in page.tags for name in ("href", "xlink:href") if name in attrs}
    assert {one for one in used if not one.startswith("ata:")} <= set(ids)


def test_write__ids_are_data_not_markup(tmp_path):
    evil = made.rsa(networks=(EVIL,), layers=["a&b", "<b>", "$x_1$", "'\""], name=EVIL)
    evil.attrs |= {"reference": EVIL, "provenance": json.dumps({EVIL: [EVIL, {"x": EVIL}]})}
    rdm = made.rdm(12).assign_attrs(metric=EVIL)
    path = report.write(
        tmp_path / "evil.html",
        title=EVIL,
        results={EVIL: evil, "rdm": rdm, "meg": made.rsa((EVIL,), ["<i>"], TIMES)},
        text=EVIL,
        notice=EVIL,
        findings=[EVIL],
        parameters={EVIL: EVIL},
        made=EVIL,
        categories=dict.fromkeys(made.stimuli(), EVIL),
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "b", "i"})
    assert page.text.count(EVIL) > 10
    assert "$x_1$" in page.text, "a dollar sign is no formula"


def test_write__same_results_give_the_same_bytes(tmp_path):
    results = {"rsa": made.rsa(), "rdm": made.rdm(20), "meg": made.rsa(times=TIMES)}
    report.write(tmp_path / "one.html", title="t", results=results)
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": "other", "axes.grid": True}):
        report.write(tmp_path / "two.html", title="t", results=results)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "two.html"], (
        "no partial file stays"
    )


def test_write__leaves_matplotlib_as_it_was(tmp_path):
    before = dict(mpl.rcParams)
    report.write(tmp_path / "page.html", title="t", results=[made.rsa()])
    assert dict(mpl.rcParams) == before
    assert (
        "matplotlib.pyplot"
        not in subprocess.run(
            [sys.executable, "-c", "import pipeline.report, sys; print(*sys.modules)"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
    ), "no window system is asked for"


def test_write__a_failed_page_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        report.write(path, title="t", results=[made.rdm(6)])
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == "old"


def test_write__refuses_what_is_no_result(tmp_path, computing_forbidden):
    cube = made.rdm(6).assign_attrs(modality="fmri")
    wanted = "shows rsa, rdm, rdm_stack, rdm_candidates, noise_ceiling; 'x' is 'fmri'"
    with pytest.raises(VerbError, match=wanted), computing_forbidden():
        report.write(tmp_path / "page.html", title="t", results={"rdm": made.rdm(6).chunk(), "x": cube})
    assert not report.shows("fmri")
    assert report.shows("rdm_candidates")
    with pytest.raises(ValueError, match="two results are called 'rdm/human-it'"):
        report.write(tmp_path / "page.html", title="t", results=[made.rdm(6), made.rdm(6)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [0, 2, 3])
def test_write__hardly_any_stimuli(tmp_path, n):
    page = Page(
        report.write(tmp_path / "page.html", title="t", results=[made.rdm(n)]).read_text(encoding="utf-8")
    )
    assert f"{n} stimuli, {n * (n - 1) // 2:,} pair" in page.text
    assert [tag for tag, _ in page.tags].count("svg") == (n > 1)


@pytest.mark.parametrize("times", [(0.0,), TIMES])
def test_write__nothing_defined_claims_nothing(tmp_path, times):
    nothing = made.rsa(times=times, subjects=False)
    nothing = nothing.copy(data=np.full(nothing.shape, np.nan))
    gone = made.rdm(6).copy(data=np.full((1, 15), np.nan, dtype="float32"))
    path = report.write(tmp_path / "page.html", title="t", results=[nothing, gone])
    page = Page(path.read_text(encoding="utf-8"))
    assert "Closest to" not in page.text
    assert "best layer" not in page.text
    assert "nan" not in page.text.split("How it was made")[0].lower().replace("nanometre", "")


def test_write__computes_lazy_results(tmp_path):
    lazy = report.write(tmp_path / "lazy.html", title="t", results=[made.rsa().chunk()])
    eager = report.write(tmp_path / "eager.html", title="t", results=[made.rsa()])
    assert lazy.read_bytes() == eager.read_bytes()


def test_square__pairs_in_any_order_are_placed_by_their_stimuli():
    rdm = made.rdm(5)
    full = np.full((5, 5), np.nan)
    first, second = np.triu_indices(5, 1)
    full[first, second] = full[second, first] = rdm.values[0]
    whole = pairs_of(rdm)
    np.testing.assert_array_equal(whole.square(rdm.values[0], list(range(5))), full)
    np.testing.assert_array_equal(whole.square(rdm.values[0], [4, 2, 0, 1, 3])[0, 1], full[4, 2])

    some = rdm.isel({PAIR: [7, 3, 0, 9, 8, 1, 2, 5]})
    some = some.rename({STIMULUS_A: STIMULUS_B, STIMULUS_B: STIMULUS_A})
    pairs = pairs_of(some)
    gone = [4, 6]
    full[first[gone], second[gone]] = full[second[gone], first[gone]] = np.nan
    order = [pairs.ids.index(one) for one in made.stimuli(5)]
    np.testing.assert_array_equal(pairs.square(some.values[0], order), full)


def test_thinned__means_blocks_of_what_is_defined():
    full = np.array([[np.nan, 2, 4], [2, np.nan, 6], [4, 6, np.nan]])
    np.testing.assert_array_equal(thinned(full, 2), [[2, 5], [5, np.nan]])
    np.testing.assert_array_equal(thinned(full, 1), full)
    assert [cell(n) for n in (1, 600, 601, 1854)] == [1, 1, 2, 4]
    assert [cell(n, 200) for n in (200, 201)] == [1, 2]


def test_write__many_stimuli_stay_a_small_page(tmp_path):
    path = report.write(tmp_path / "page.html", title="t", results=[made.rdm(700)])
    assert path.stat().st_size < 2_000_000
    assert "averaged over 2 by 2 neighbours" in path.read_text(encoding="utf-8")


def show(tmp_path, *results, **options):
    path = report.write(tmp_path / "page.html", title="t", results=results, **options)
    return Page(path.read_text(encoding="utf-8"))


def test_write__candidates_are_a_grid_with_their_names(tmp_path):
    stack = made.candidates(n=12)
    page = show(tmp_path, stack, categories=made.categories(12))
    assert [tag for tag, _ in page.tags].count("image") == 20
    assert [row[:2] for row in page.tables[0][1:]] == [[a, b] for a in made.NETWORKS for b in made.LAYERS]
    cells = [terms.significant(one) for one in np.percentile(stack.values[0], [1, 50, 99])]
    assert page.tables[0][1][2:] == cells, "small values keep their figures"
    for layer in made.LAYERS:
        assert page.text.count(layer) == 2 + 2, "above a square and in the table, for either network"
    for said in ("12 stimuli, 66 pairs, 20 candidates.", "dark at its 1st", "sorted into 6 categories"):
        assert said in page.text
    assert "are shown" not in page.text


def test_write__of_many_candidates_the_first_are_shown(tmp_path):
    layers = [f"blocks.{n}.attention.projection" for n in range(15)]
    page = show(tmp_path, made.candidates(layers=layers, n=4, times=2).chunk())
    assert [tag for tag, _ in page.tags].count("image") == 24
    assert len(page.tables[0]) == 1 + 24
    assert (
        "Each square is a mean over 2 time points. The first 24 of 30 are shown; 6 more are not." in page.text
    )


@pytest.mark.parametrize("n", [0, 2])
def test_write__candidates_of_hardly_any_stimuli(tmp_path, n):
    page = show(tmp_path, made.candidates(("a", "b"), ["logits"], n))
    assert [tag for tag, _ in page.tags].count("image") == n
    if n:
        assert "a/logits" in page.text


def test_places__a_network_begins_a_row():
    assert _places(["a"] * 3 + ["b"], 2) == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert _titles(["a", "a"], ["one two", "three"], 4) == ["a\none\ntwo", "thre\ne"]
    assert _titles(["a", "a"], ["one", "two six"], 4) == ["a\n\none", "two\nsix"]


def test_write__a_single_subject_is_promised_neither_ceiling_nor_mean(tmp_path):
    alone = dict.fromkeys(("sem", "ceiling_lower", "ceiling_upper"), np.nan)
    for one in (made.rsa(), made.rsa(times=TIMES)):
        gone = {name: one[name] * value for name, value in alone.items()}
        page = show(tmp_path, one.assign_coords(gone))
        said = page.text.split("How it was made")[0]
        assert "Of a single subject neither a standard error nor a noise ceiling is defined." in said
        assert "bounds this one" not in said
        assert "means over subjects" not in said
        assert not {"Noise ceiling", "Noise ceiling there", "± SEM"} & set(page.tables[0][0])
    page = show(tmp_path, made.ceiling().copy(data=np.full((2, 1), np.nan)))
    assert "None is defined: that takes two subjects." in page.text


def test_write__an_untrained_network_alone_is_nobodys_twin(tmp_path):
    assert "Dashed: untrained." in show(tmp_path, made.rsa(made.NETWORKS[1:])).text
    assert "Dashed: the same architecture, untrained." in show(tmp_path, made.rsa()).text
    assert "Dashed" not in show(tmp_path, made.rsa(made.NETWORKS[:1])).text


def test_write__pairs_may_be_missing_but_not_come_twice(tmp_path):
    rdm = made.rdm(12)
    page = show(tmp_path, rdm.isel({PAIR: slice(6, None)}), categories=made.categories(12))
    assert "12 stimuli, 60 pairs." in page.text
    twice = rdm.isel({PAIR: [0, 1, 2, 0]})
    with pytest.raises(VerbError, match="'rdm/human-it' holds 1 pair of stimuli more than once"):
        report.write(tmp_path / "twice.html", title="t", results=[twice])


def test_write__long_categories_are_in_the_caption(tmp_path):
    kinds = {one: f"{'a long name ' * 12}{at % 2}" for at, one in enumerate(made.stimuli(6))}
    said = show(tmp_path, made.rdm(6, subjects=3), categories=kinds).text
    assert f"sorted into 2 categories: {terms.listed(dict.fromkeys(kinds.values()))}." in said


def test_write__a_file_name_that_is_no_text_stays_readable(tmp_path):
    odd = made.rdm(3).assign_attrs(provenance=json.dumps({"file": "face-\udcff.png"}))
    assert "face-\\udcff.png" in show(tmp_path, odd).text


def test_write__a_single_subject_is_drawn_once(tmp_path):
    page = show(tmp_path, made.rdm(6, subjects=1))
    assert [tag for tag, _ in page.tags].count("image") == 2, "the square and its scale"
    assert "Mean of all" not in page.text


def test_ordering__groups_categories_in_order_of_appearance():
    order, blocks = ordering(list("abcde"), {"a": "face", "b": "fruit", "c": "face", "e": "fruit"})
    assert order == [0, 2, 1, 4, 3]
    assert blocks == [("face", 0, 2), ("fruit", 2, 4), ("no category", 4, 5)]
    assert ordering(list("abc"), {}) == ([0, 1, 2], [])


@pytest.mark.parametrize("n", [0, 2, 3, 92])
def test_pairs__stimuli_come_back_in_order(n):
    assert pairs_of(made.rdm(n)).ids == (made.stimuli(n) if n else [])


def test_table__rsa_is_tidy():
    result = made.rsa()
    frame = report.table(result)
    assert list(frame.columns) == [
        *("network", "layer", "score", "subject_score", "sem", "ceiling_lower", "ceiling_upper"),
    ]
    np.testing.assert_array_equal(frame["score"], result.values[:, 0])
    assert list(frame["layer"]) == made.LAYERS * 2
    assert set(frame["ceiling_upper"]) == {0.44}


def test_table__rsa_along_time_has_one_row_per_layer_and_time():
    result = made.rsa(times=TIMES)
    frame = report.table(result)
    assert len(frame) == 20 * len(TIMES)
    one = frame[
        (frame["layer"] == "fire9") & (frame["network"] == made.NETWORKS[1]) & (frame["time"] == TIMES[4])
    ]
    want = result.sel({CANDIDATE: f"{made.NETWORKS[1]}/fire9", TIME: TIMES[4]})
    assert one["score"].item() == want.item()
    assert one["subject_score"].item() == want["subject_score"].item()
    assert one["ceiling_lower"].item() == want["ceiling_lower"].item()


def test_table__rdm_and_stack_are_tidy():
    frame = report.table(made.rdm(5))
    assert list(frame.columns) == [STIMULUS_A, STIMULUS_B, "dissimilarity"]
    np.testing.assert_array_equal(frame["dissimilarity"], made.rdm(5).values[0])
    stack = made.rdm(4, times=(0.0, 0.1), subjects=2)
    frame = report.table(stack)
    assert list(frame.columns) == [SUBJECT, TIME, STIMULUS_A, STIMULUS_B, "dissimilarity"]
    row = frame.iloc[6 * 2 + 6 + 1]  # subject 2, second time, second pair
    assert tuple(row)[:4] == ("subject-2", 0.1, "stimulus-00", "stimulus-02")
    assert row["dissimilarity"] == stack.values[1, 1, 1]


def test_table__rdms_of_candidates_name_their_stimuli():
    stack = made.candidates(layers=["a", "b"], n=4)
    frame = report.table(stack)
    assert list(frame.columns) == [CANDIDATE, STIMULUS_A, STIMULUS_B, "dissimilarity"]
    assert tuple(frame.iloc[6 + 1])[:3] == (f"{made.NETWORKS[0]}/b", "stimulus-00", "stimulus-02")
    assert frame["dissimilarity"][6 + 1] == stack.values[1, 0, 1]


def test_table__other_results_have_a_column_per_dim():
    ceiling = report.table(made.ceiling())
    assert ceiling.to_dict("records") == [{"lower": 0.31, "upper": 0.44}]
    scores = xr.DataArray(
        [[0.1], [0.2]],
        dims=("unit", TIME),
        coords={"unit": ["a", "b"], TIME: [0.0]},
        attrs={"modality": "unit_scores"},
    )
    assert report.table(scores).to_dict("list") == {"unit": ["a", "b"], "value": [0.1, 0.2]}


TRANSPOSED = [
    (made.rsa(("net",), ["a", "b"], (0.0, 0.1)), (TIME, CANDIDATE)),
    (made.rdm(4, times=(0.0, 0.1), subjects=3), (PAIR, TIME, SUBJECT)),
    (made.candidates(n=4, times=2), (TIME, PAIR, CANDIDATE)),
]


@pytest.mark.parametrize(("result", "dims"), TRANSPOSED)
def test_results_are_known_by_their_labels_whatever_the_order_of_their_dims(result, dims, tmp_path):
    turned = result.transpose(*dims)
    pd.testing.assert_frame_equal(report.table(turned), report.table(result))
    want = report.write(tmp_path / "page.html", title="t", results=[result]).read_bytes()
    assert report.write(tmp_path / "turned.html", title="t", results=[turned]).read_bytes() == want


def test_table__coordinates_may_have_an_order_of_their_own():
    result = made.rsa(("net",), ["a", "b"], (0.0, 0.1))
    turned = result.assign_coords(subject_score=result["subject_score"].transpose(TIME, CANDIDATE))
    pd.testing.assert_frame_equal(report.table(turned), report.table(result))


def test_table__refuses_a_cube():
    with pytest.raises(ValueError, match=r"a table is made of results .* this is a cube of 'fmri'"):
        report.table(made.rdm(5).assign_attrs(modality="fmri"))


def test_words__of_a_result():
    said = report.words(made.rdm())
    assert said.startswith("rdm/human-it: rdm, 1 time x 4,186 pair\n")
    for part in (
        "dissimilarity in a.u., float32",
        "values: 0.2",
        "metric: correlation",
        "file 92_Brain_RDMs.mat",
    ):
        assert part in said
    assert max(map(len, said.splitlines())) <= 100


def test_words__of_a_cube_reads_no_values(computing_forbidden):
    from stores import simulate

    cube = simulate("fmri", seed=1)
    with computing_forbidden():
        said = report.words(cube.copy(data=dask.array.from_array(cube.values)))
    assert f"{cube.sizes['stimulus']:,} stimulus x {cube.sizes['unit']:,} unit" in said
    assert f"stimulus ({cube.sizes['stimulus']:,}): {cube['stimulus'].values[0]} ... " in said
    assert "values:" not in said


def test_words__of_scores_names_layers_and_bounds():
    said = report.words(made.rsa())
    for part in (
        "candidate (20): squeezenet1_0/conv1 ... squeezenet1_0-untrained-0/logits",
        "network: squeezenet1_0 (10), squeezenet1_0-untrained-0 (10)",
        "ceiling_upper: 0.44\n",
        "subject_score (per candidate x time): 0.04",
    ):
        assert part in said


def test_words__of_a_result_with_nothing_defined():
    gone = made.rdm(6).copy(data=np.full((1, 15), np.nan, dtype="float32"))
    assert "values: none is defined; 15 values not defined" in report.words(gone)


def test_rdm_pairs_are_marked_by_their_own_categories(tmp_path):
    rdm = made.rdm(12)
    kinds = made.categories(12)
    rdm = rdm.assign_coords(
        category_a=(PAIR, [kinds[one] for one in rdm[STIMULUS_A].values]),
        category_b=(PAIR, [kinds[one] for one in rdm[STIMULUS_B].values]),
    )
    own = report.write(tmp_path / "own.html", title="t", results=[rdm]).read_bytes()
    given = report.write(
        tmp_path / "given.html", title="t", results=[made.rdm(12)], categories=kinds
    ).read_bytes()
    assert own == given
    assert b"animal face" in own
