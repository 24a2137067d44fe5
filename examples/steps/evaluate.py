"""Tell the classes of images apart by the model, and print how often that is right."""

import json
from pathlib import Path
from statistics import mean

INPUTS = Path("/valohai/inputs")


def main() -> None:
    """Evaluate on every image."""
    (file,) = (INPUTS / "model").iterdir()
    model: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))["brightness"]
    right = 0
    images = sorted((INPUTS / "images").rglob("*.pgm"))
    for image in images:
        bright = mean(image.read_bytes().partition(b"255\n")[2])
        guess = min(model, key=lambda name: abs(model[name] - bright))
        right += guess == image.parent.name
    print(json.dumps({"images": len(images), "accuracy": round(right / len(images), 3)}))


if __name__ == "__main__":
    main()
