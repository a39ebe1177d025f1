"""A small study for tests, and what comes of it."""

import yaml

import stores
from pipeline.study import Run, run_study
from pipeline.study.run import Silent

NETWORK = "squeezenet1_0-caffe"


def written(folder, tree):
    """The study as a file."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def small(root):
    """A small study: 12 simulated pictures, two layers, two simulated subjects."""
    stores.save(root, "pictures", stores.simulate("images", stimuli=12), made_from={"step": "test/1"})
    for subject in ("sub-01", "sub-02"):
        cube = stores.simulate("fmri", stimuli=12, units=20, subject=subject)
        cube = cube.assign_coords(region=("unit", ["V1"] * 8 + ["IT"] * 12))
        stores.save(root, f"fmri/{subject}", cube, made_from={"step": "test/1", "subject": subject})
    extract = {
        "verb": "extract",
        "network": NETWORK,
        "untrained": 0,
        "stimuli": "pictures",
        "layers": ["fire9", "logits"],
        "transform": {"resize": [48, 48], "crop": 48},
    }
    rsa = {"verb": "rsa", "candidates": ["activations/*"], "reference": "fmri/*", "by": "region"}
    return {
        "title": "Small",
        "variables": {"store": str(root)},
        "store": "${store}",
        "steps": {"network": extract, "regions": rsa},
    }


class Heard(Silent):
    """Remembers the cubes."""

    def __init__(self):
        self.cubes = {}

    def made(self, cube, reused):
        self.cubes[cube] = reused


def ran(study, **options):
    """Run a study: cubes that it made, with whether they were there already, and its pages."""
    heard = Heard()
    pages = run_study(Run(study, heard, **options))
    return heard.cubes, pages
