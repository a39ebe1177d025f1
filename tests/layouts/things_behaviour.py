"""Behaviour files, small, with made-up numbers: CRLF, a NaN, a byte order mark, the label NA, blanks in Word."""

from pathlib import Path

from tests.layouts.things_stimuli import CONCEPTS, stems

LABELS = (
    "NA",
    "tool",
    "NA",
    "food",
    "NA",
    "furniture",
    "vehicle",
    "NA",
    "food",
    "food",
    "clothing",
    "animal",
)
UNSCORED = "hot_tub_05s"


def score(n):
    return round(0.4 + n / 400, 4)


def memorability(folder: Path) -> Path:
    rows = ["image_nr,image_name,file_path,cr"]
    for n, stem in enumerate(stems(), start=1):
        cr = "NaN" if stem == UNSCORED else score(n)
        rows.append(f"{n},{stem}.jpg,images/{stem.rsplit('_', 1)[0]}/{stem}.jpg,{cr}")
    (folder / "THINGS_Memorability_Scores.csv").write_bytes("\r\n".join([*rows, ""]).encode())
    return folder


def concepts(folder: Path) -> Path:
    rows = ["concept,category,category_label,CR,dim_based_typ,beh_typ,,,"]
    for n, (concept, label) in enumerate(zip(CONCEPTS, LABELS, strict=True)):
        code = 0 if label == "NA" else sorted(set(LABELS)).index(label)
        rows.append(f"{concept},{code},{label},{score(n)},{n / 10},{'' if label == 'NA' else n / 20},,,")
    (folder / "Concept_to_category_linking.csv").write_bytes(
        b"\xef\xbb\xbf" + "\n".join([*rows, ""]).encode()
    )
    return folder


def thingsplus(folder: Path) -> Path:
    rows = ["Word\tuniqueID\tmanmade_mean\tpleasant_mean"]
    rows += [f"{c.rstrip('12').replace('_', ' ')}\t{c}\t{n}\t{-n}.5" for n, c in enumerate(CONCEPTS)]
    (folder / "objectProperties_meanRatings.tsv").write_text("\n".join([*rows, ""]))
    return folder


def scores(folder: Path) -> Path:
    rows = ["stimulus,group,rating,speed"]
    rows += [f"pic{n:03d},{'ab'[n % 2]},{n},{'' if n == 3 else n / 8}" for n in range(30)]
    (folder / "scores.csv").write_text("\n".join([*rows, ""]))
    return folder
