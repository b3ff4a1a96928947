"""deepcore quickstart: a convolutional net on the packaged digits."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--output", default="deepcore-quickstart", metavar="DIR",
                        help="folder for model and report (default: %(default)s)")  # fmt: skip
    parser.add_argument("--epochs", type=int, default=60, help="passes over the data (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train, measure, save, report, and say what to try next."""
    from deepcore import data
    from deepcore.estimators import ImageClassifier

    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    x_train, y_train, x_test, y_test = data.load_digits()
    out = sys.stderr if options.json else sys.stdout
    print(
        f"Training LeNet-5 on {len(x_train):,} handwritten digits of 8 x 8 pixels (UCI optical digits).",
        file=out,
        flush=True,
    )
    classifier = ImageClassifier(
        "lenet5", augment={"shift": 1, "rotate": 8.0}, dropout=0.3, learning_rate=2e-3, label_smoothing=0.05,
        epochs=options.epochs, random_state=options.seed, verbose=True, validation_fraction=0.1,
    )  # fmt: skip
    started = time.perf_counter()
    classifier.fit(x_train, y_train)
    seconds = time.perf_counter() - started
    accuracy = classifier.score(x_test, y_test)
    model = folder / "digits.safetensors"
    classifier.save(model)
    print(
        f"\nTest accuracy {100 * accuracy:.2f} % on {len(x_test)} digits it has not seen, after {seconds:.1f} s.",
        file=out,
    )
    print(f"Model   {model}", file=out)
    page = folder / "report.html"
    report: Path | None = page
    try:
        classifier.report(page, x_test, y_test, title="Handwritten digits")
        print(f"Report  {page}  (open it in a browser)", file=out)
    except ImportError:
        report = None
        print("Report  needs pictures: pip install 'deepcore[viz]', then run this again.", file=out)
    print(
        "\nTry next:\n"
        f"  deepcore eval {model} digits\n"
        "  deepcore data fetch mnist && deepcore train mnist --augment light --epochs 3\n"
        "  deepcore bench",
        file=out,
    )
    if options.json:
        print(json.dumps({"accuracy": accuracy, "seconds": seconds, "model": str(model),
                          "report": None if report is None else str(report)}))  # fmt: skip
    return 0
