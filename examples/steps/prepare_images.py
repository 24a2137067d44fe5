"""Draw small images of three classes and declare them as a packaged dataset version.

Written as for Valohai: it reads and writes below `/valohai` and knows nothing of who runs it.
"""

import argparse
import json
import random
from pathlib import Path

OUTPUTS = Path("/valohai/outputs")
BRIGHTNESS = {"cats": 60, "dogs": 120, "birds": 180}
SIZE = 16


def draw(brightness: int, chance: random.Random) -> bytes:
    """Return a grey image, SIZE by SIZE, as PGM."""
    pixels = bytes(
        min(max(round(chance.gauss(brightness, 25)), 0), 255) for _ in range(SIZE * SIZE)
    )
    return f"P5 {SIZE} {SIZE} 255\n".encode() + pixels


def main() -> None:
    """Draw all classes."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--per-class", type=int, required=True)
    arguments.add_argument("--version", required=True)
    chosen = arguments.parse_args()
    chance = random.Random(chosen.version)  # noqa: S311 - the same images for the same version
    lines: list[str] = []
    for name, brightness in BRIGHTNESS.items():
        (OUTPUTS / name).mkdir(parents=True, exist_ok=True)
        for number in range(chosen.per_class):
            file = f"{name}/{name}_{number:05d}.pgm"
            (OUTPUTS / file).write_bytes(draw(brightness, chance))
            version = {"uri": f"dataset://my-images/{chosen.version}", "packaging": True}
            metadata = {"valohai.dataset-versions": [version], "class": name}
            lines.append(json.dumps({"file": file, "metadata": metadata}))
        print(json.dumps({"class": name, "images": chosen.per_class}), flush=True)
    (OUTPUTS / "valohai.metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
