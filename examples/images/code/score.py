"""Tell the digit on each image."""

import argparse
from pathlib import Path

import joblib
import numpy as np
from PIL import Image


def init() -> None:
    """Load the model, once in each worker process."""
    global classifier
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    arguments, _ = parser.parse_known_args()
    classifier = joblib.load(arguments.model)


def read_grey(path: str) -> np.ndarray:
    """The 64 grey values of 0 to 16 that the classifier knows."""
    with Image.open(path) as image:
        small = image.convert("L").resize((8, 8), Image.Resampling.BOX)
    return (255 - np.asarray(small, dtype=float).ravel()) * (16 / 255)


def run(mini_batch: list[str]) -> list[str]:
    """Classify the files of one mini-batch: one line for each."""
    digits = classifier.predict(np.stack([read_grey(path) for path in mini_batch]))
    return [f"{Path(path).name} {digit}" for path, digit in zip(mini_batch, digits, strict=True)]
