"""Progress of training: a bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
from typing import Any, TextIO

BAR = "{desc} {percentage:3.0f}% |{bar}| {rate_fmt}, {remaining} left{postfix}"


def format_values(values: dict[str, Any]) -> str:
    """'loss 0.1234  accuracy 0.9876' from the numbers of a record."""
    parts = []
    for name, value in values.items():
        if isinstance(value, float):
            parts.append(f"{name} {value:.2e}" if value and abs(value) < 1e-3 else f"{name} {value:.4f}")
    return "  ".join(parts)


class Progress:
    """Shows samples per second, time left, loss and metrics.

    Args:
        mode: 'auto' (bar on a terminal, else log lines), 'bar', 'log' or 'off'.
        samples: in all epochs together.
        done: samples already seen by a resumed run.
    """

    def __init__(self, mode: str, samples: int, done: int, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.mode = ("bar" if self.stream.isatty() else "log") if mode == "auto" else mode
        self._bar: Any = None
        if self.mode == "bar":
            from tqdm import tqdm

            self._bar = tqdm(total=samples, initial=done, unit=" samples", unit_scale=True, dynamic_ncols=True,
                             file=self.stream, smoothing=0.1, leave=True,
                             bar_format=BAR)  # fmt: skip

    def step(self, samples: int, epoch: int, epochs: int, values: dict[str, float]) -> None:
        """After one batch."""
        if self._bar is not None:
            self._bar.set_description_str(f"epoch {epoch}/{epochs}", refresh=False)
            self._bar.set_postfix_str(format_values(values), refresh=False)
            self._bar.update(samples)

    def epoch(self, record: dict[str, Any], epochs: int) -> None:
        """After one epoch."""
        if self.mode == "log":
            shown = {
                k: v for k, v in record.items() if k not in ("epoch", "step", "seconds", "samples_per_second", "lr")
            }
            self.stream.write(
                f"epoch {record['epoch']}/{epochs}  {format_values(shown)}  "
                f"{record['samples_per_second']:,.0f} samples/s\n"
            )
            self.stream.flush()

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()
