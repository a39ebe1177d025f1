"""Names of THINGS-like images, among them those on which the two numberings and careless joins differ."""

CONCEPTS = (
    *("air_conditioner", "bat1", "camera1", "camera2", "camera_lens", "coat_rack"),
    *("hot-air_balloon", "hot_tub", "ice-cream_cone", "ice_cube", "t-shirt", "zebra"),
)
WRONG_FOLDER = {"coat_rack": "coat"}
"""A folder that ds004192 spells wrongly."""


def stems(concepts=CONCEPTS, count=13):
    """File stems of `count` images of each concept (one more of `bat1`), in ASCII order."""
    named = [(concept, n) for concept in concepts for n in range(1, count + 1 + (concept == "bat1"))]
    return [f"{concept}_{n:02d}{'bs'[n > 1]}" for concept, n in sorted(named)]


def spellings(stem):
    """One image as the releases spell it."""
    concept = stem.rsplit("_", 1)[0]
    return [
        stem,
        f"{concept}/{stem}.jpg",
        f"{WRONG_FOLDER.get(concept, concept)}/{stem}.jpg",
        f"{concept}\\{stem}.jpg",
        f"images/{concept}/{stem}.jpg",
        f"./images/{concept}/{stem}.JPG",
        f"images_meg/{concept}/{stem}.jpg",
        f"images_test_meg/{stem}.jpg",
        f"stimuli\\{concept}\\{stem}.jpg",
        f"object_images/{concept}/{stem}.jpeg",
    ]
