"""Write the wine data that scikit-learn ships as a CSV file: thirteen measurements and the cultivar of 178 wines."""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_wine

HERE = Path(__file__).parent


def main() -> None:
    wines, cultivar = load_wine(as_frame=True, return_X_y=True)
    wines["cultivar"] = cultivar
    path = HERE / "data" / "wines.csv"
    path.parent.mkdir(exist_ok=True)
    wines.to_csv(path, index_label="wine")
    print(f"{len(wines)} wines in {path}")


if __name__ == "__main__":
    main()
