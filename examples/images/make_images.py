"""Make the images example's model and its folder of images, the same on every run.

Half of scikit-learn's bundled digits (8 x 8 grey values, written by hand) train a support vector machine.
Images of the other half are what the job classifies: PNG files of 64 x 64 pixels, named after their number and digit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

HERE = Path(__file__).parent
PIXELS = 64
SEED = 20_24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=800, help="how many images, at most 898 (default: 800)")
    count = parser.parse_args().count

    grey, digit = load_digits(return_X_y=True)
    train_grey, test_grey, train_digit, test_digit = train_test_split(grey, digit, test_size=0.5, random_state=SEED)

    (HERE / "model").mkdir(exist_ok=True)
    joblib.dump(SVC(gamma=0.001).fit(train_grey, train_digit), HERE / "model" / "digits.joblib")

    folder = HERE / "data"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    images = list(zip(test_grey, test_digit, strict=True))[:count]
    for number, (values, label) in enumerate(images):
        pixels = (255 - values.reshape(8, 8) * (255 / 16)).astype(np.uint8)  # black on white
        Image.fromarray(pixels).resize((PIXELS, PIXELS), Image.Resampling.NEAREST).save(
            folder / f"{number:04d}-is-{label}.png"
        )
    print(f"{len(images)} images in {folder}, the model in {HERE / 'model'}")


if __name__ == "__main__":
    main()
