"""Train a random forest to tell the cultivar of a wine."""

import argparse
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

SEED = 20_24


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wines", type=Path, required=True)
    parser.add_argument("--trees", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True)
    arguments = parser.parse_args()

    wines = pd.read_parquet(arguments.wines)
    measurements = wines.drop(columns=["wine", "cultivar"])
    forest = RandomForestClassifier(n_estimators=arguments.trees, max_depth=6, random_state=SEED)
    joblib.dump(forest.fit(measurements, wines["cultivar"]), arguments.model / "forest.joblib")
    print(f"{arguments.trees} trees, learned from {len(wines)} wines")


if __name__ == "__main__":
    main()
