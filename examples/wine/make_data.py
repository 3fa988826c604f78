"""Make the wine example's model and data, the same on every run.

A random forest learns the cultivar of a wine from thirteen measurements (scikit-learn's bundled wine data, 178 wines).
The data to score are bottles drawn from these wines with replacement, each measurement jittered by a tenth of its
spread: real values, and as many rows as asked for.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier

HERE = Path(__file__).parent
FILE_COUNT = 8
ROWS_PER_GROUP = 62_500
SEED = 20_24


def read_wines() -> tuple[pd.DataFrame, pd.Series]:
    """The measurements as float32, under names that are plain identifiers, and the cultivar (0, 1 or 2)."""
    measurements, cultivar = load_wine(as_frame=True, return_X_y=True)
    measurements.columns = [name.replace("/", "_") for name in measurements.columns]
    return measurements.astype("float32"), cultivar


def write_model(measurements: pd.DataFrame, cultivar: pd.Series, path: Path) -> None:
    """Train on the original wines and save the forest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    forest = RandomForestClassifier(n_estimators=100, max_depth=6, random_state=SEED)
    joblib.dump(forest.fit(measurements, cultivar), path)


def write_bottles(measurements: pd.DataFrame, row_count: int, folder: Path) -> None:
    """Write `row_count` bottles to Parquet files of about the same size."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.parquet"):
        old.unlink()
    random = np.random.default_rng(SEED)
    jitter = measurements.std().to_numpy("float32") / 10
    borders = np.linspace(0, row_count, FILE_COUNT + 1, dtype="int64")
    for index, (first, end) in enumerate(pairwise(borders)):
        drawn = measurements.to_numpy()[random.integers(0, len(measurements), end - first)]
        values = drawn + random.standard_normal(drawn.shape, dtype="float32") * jitter
        columns = {"bottle": np.arange(first, end)} | dict(zip(measurements.columns, values.T, strict=True))
        path = folder / f"bottles-{index:02d}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=ROWS_PER_GROUP, compression="zstd", use_dictionary=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many bottles (default: 1,000,000)")
    rows = parser.parse_args().rows
    measurements, cultivar = read_wines()
    write_model(measurements, cultivar, HERE / "model" / "forest.joblib")
    write_bottles(measurements, rows, HERE / "data")
    print(f"{rows:,} bottles in {HERE / 'data'}, the model in {HERE / 'model'}")


if __name__ == "__main__":
    main()
