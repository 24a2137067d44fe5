"""Write a year of sensor data, a file a day, and declare it as a packaged dataset version."""

import argparse
import json
import math
from datetime import date, timedelta
from pathlib import Path

OUTPUTS = Path("/valohai/outputs")


def readings(day: date) -> str:
    """Return the temperature of each hour of a day as CSV."""
    season = 10 - 10 * math.cos(2 * math.pi * day.timetuple().tm_yday / 365)
    hours = (f"{hour},{season - 4 * math.cos(2 * math.pi * hour / 24):.2f}" for hour in range(24))
    return "\n".join(["hour,temperature", *hours]) + "\n"


def main() -> None:
    """Write the days of a year."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--year", type=int, required=True)
    arguments.add_argument("--days", type=int, required=True)
    chosen = arguments.parse_args()
    version = {"uri": f"dataset://sensor-data/year-{chosen.year}", "packaging": True}
    with (OUTPUTS / "valohai.metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for number in range(chosen.days):
            day = date(chosen.year, 1, 1) + timedelta(days=number)
            file = f"sensor_{day:%Y%m%d}.csv"
            (OUTPUTS / file).write_text(readings(day), encoding="utf-8")
            line = {"file": file, "metadata": {"valohai.dataset-versions": [version]}}
            metadata.write(json.dumps(line) + "\n")
    print(f"Wrote {chosen.days} days")


if __name__ == "__main__":
    main()
