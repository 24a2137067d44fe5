"""Publish the 1,797 digit images of scikit-learn as a packaged dataset version, and train on it.

Run it as it stands, or copy it and put in images of your own:

    pip install "prefect-datasets[demo]"
    python digits.py
"""

from pathlib import Path

import numpy as np
from PIL import Image
from prefect import flow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from prefect_datasets import (
    DatasetVersion,
    outputs,
    publish_outputs,
    resolve_inputs,
    write_metadata,
)

N_CORRECTED = 18  # one image in a hundred


def draw_digits(out: Path) -> None:
    """Write every image as `<digit>/<number>.png`: a folder per class."""
    digits = load_digits()
    for number, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        draw(image, out / str(digit) / f"{number:04}.png")


def draw(image: np.ndarray, path: Path) -> None:
    """Write one image; the pixels of scikit-learn's go from 0 to 16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(image * 15)).save(path)


def read_images(folder: Path) -> tuple[np.ndarray, list[str]]:
    """Read every image below `folder`: pixels in rows, and the names of their folders."""
    files = sorted(folder.rglob("*.png"))
    pixels = np.array([np.asarray(Image.open(file)).ravel() for file in files])
    return pixels / 255, [file.parent.name for file in files]


@flow
def prepare_digits(version: str = "v1") -> list[DatasetVersion]:
    """Publish all images as one packaged version."""
    with outputs() as out:
        draw_digits(out)
        write_metadata(out, f"dataset://digits/{version}", packaging=True)
        return publish_outputs(out)


@flow
def correct_digits(base: str = "v1", version: str = "v2") -> list[DatasetVersion]:
    """Publish a version that differs from `base` in a few images: redrawn, added, left out."""
    digits = load_digits()
    with outputs() as out:
        for number in range(N_CORRECTED):
            image, folder = digits.images[number], out / str(digits.target[number])
            draw(image * 0.9, folder / f"{number:04}.png")
            draw(np.roll(image, 1, axis=0), folder / f"{number:04}-shifted.png")
        write_metadata(
            out,
            f"dataset://digits/{version}",
            packaging=True,
            from_version=f"dataset://digits/{base}",
            exclude=[f"*/{1796 - number:04}.png" for number in range(N_CORRECTED)],
        )
        return publish_outputs(out)


@flow
def train_on_digits(images: str = "dataset://digits/latest") -> float:
    """Train a classifier on a version; return its accuracy on images that it has not seen."""
    inputs = resolve_inputs({"images": images})
    pixels, digits = read_images(inputs["images"])
    seen, unseen, seen_digits, unseen_digits = train_test_split(pixels, digits, random_state=0)
    return SVC().fit(seen, seen_digits).score(unseen, unseen_digits)


if __name__ == "__main__":
    prepare_digits()
    print(f"accuracy {train_on_digits():.1%}")
