"""Learn how bright each class is and how warm a day is; a model of very little brain."""

import argparse
import csv
import json
from pathlib import Path
from statistics import mean

INPUTS = Path("/valohai/inputs")
OUTPUTS = Path("/valohai/outputs")


def brightness(image: Path) -> float:
    """Return the mean of a PGM's pixels."""
    return mean(image.read_bytes().partition(b"255\n")[2])


def main() -> None:
    """Train, and say how it goes in lines of JSON."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--epochs", type=int, required=True)
    arguments.add_argument("--rate", type=float, required=True)
    arguments.add_argument("--shuffle", action="store_true")
    chosen = arguments.parse_args()
    folders = sorted(path for path in (INPUTS / "images").iterdir() if path.is_dir())
    seen = {folder.name: mean(map(brightness, sorted(folder.glob("*.pgm")))) for folder in folders}
    temperatures = [
        float(row["temperature"])
        for file in sorted((INPUTS / "sensors").glob("*.csv"))
        for row in csv.DictReader(file.open(encoding="utf-8"))
    ]
    model = dict.fromkeys(seen, 0.0)
    for epoch in range(1, chosen.epochs + 1):
        model = {name: at + chosen.rate * (seen[name] - at) for name, at in model.items()}
        loss = mean(abs(seen[name] - at) for name, at in model.items())
        print(json.dumps({"epoch": epoch, "loss": round(loss, 3)}), flush=True)
    learned = {"brightness": model, "temperature": mean(temperatures)}
    (OUTPUTS / "model.json").write_text(json.dumps(learned), encoding="utf-8")


if __name__ == "__main__":
    main()
