"""Tell the cultivar of each bottle, and how sure the model is."""

import argparse

import joblib
import pandas as pd


def init() -> None:
    """Load the model, once in each worker process."""
    global forest, measurements
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", required=True)
    arguments, _ = parser.parse_known_args()
    forest = joblib.load(arguments.model)
    measurements = list(forest.feature_names_in_)


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Score one mini-batch: as many rows out as in."""
    probabilities = forest.predict_proba(mini_batch[measurements])
    return pd.DataFrame(
        {
            "bottle": mini_batch["bottle"],
            "cultivar": forest.classes_[probabilities.argmax(axis=1)],
            "probability": probabilities.max(axis=1).astype("float32"),
        }
    )
