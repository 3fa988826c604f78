"""Compare what was told with what is so."""

import argparse
import json
from pathlib import Path

import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--wines", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args()

    wines = pd.read_parquet(arguments.wines)[["wine", "cultivar"]]
    both = wines.merge(pd.read_csv(arguments.scores), on="wine", validate="one_to_one")
    report = {
        "wines": len(both),
        "accuracy": round(accuracy_score(both["cultivar"], both["told"]), 4),
        "least_sure": float(both["probability"].min()),
        "cultivar_by_told": confusion_matrix(both["cultivar"], both["told"]).tolist(),
    }
    arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{report['accuracy']:.1%} of {len(both)} wines told right")


if __name__ == "__main__":
    main()
