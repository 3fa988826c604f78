"""Part the wines into those that are known and those that are to be told, always in the same way."""

import argparse
from pathlib import Path

import pandas as pd

SEED = 20_24


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wines", type=Path, required=True)
    parser.add_argument("--held-back", type=float, required=True)
    parser.add_argument("--known", type=Path, required=True)
    parser.add_argument("--unknown", type=Path, required=True)
    arguments = parser.parse_args()

    wines = pd.read_csv(arguments.wines)
    wines.columns = [name.replace("/", "_") for name in wines.columns]
    unknown = wines.groupby("cultivar").sample(frac=arguments.held_back, random_state=SEED).sort_values("wine")
    known = wines.drop(unknown.index)
    known.to_parquet(arguments.known / "wines.parquet", index=False)
    unknown.to_parquet(arguments.unknown / "wines.parquet", index=False)
    print(f"{len(known)} wines to learn from, {len(unknown)} to tell")


if __name__ == "__main__":
    main()
