"""The recurrent net of forecasters: direct, step by step or by segments, with the level of each window taken off."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import nn, ops
from deepcore.errors import ArgumentError, ShapeError
from deepcore.nn.rnn import RecurrentState
from deepcore.tensor import Tensor, full, tensor

STRATEGIES = ("direct", "recursive", "segment")
CHANNELS = ("independent", "joint")
LEVELS = ("last", "reversible", None)
FORECAST_CELLS = ("tanh", "relu", "lstm", "coupled", "gru", "gru_before", "mgu")

_EPSILON = 1e-5  # added to variances of windows


class ReversibleNorm(nn.Module):
    """Each channel of each window at mean 0 and deviation 1 with a learned gain and bias, and back.

    Source: Kim et al., "Reversible instance normalization for accurate time-series forecasting against distribution
    shift", 2022.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(full((channels,), 1.0))
        self.bias = nn.Parameter(full((channels,), 0.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (n, lookback, c) -> (normalised x, means (n, 1, c), deviations (n, 1, c))."""
        mean = ops.mean(x, 1, keepdims=True)
        deviation = ops.sqrt(ops.mean(ops.square(x - mean), 1, keepdims=True) + _EPSILON)
        return (x - mean) / deviation * self.gain + self.bias, mean, deviation

    def inverse(self, y: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """y (n, horizon, c, q) in the units of x."""
        gain, bias = ops.reshape(self.gain, -1, 1), ops.reshape(self.bias, -1, 1)
        return (y - bias) / gain * ops.expand_dims(deviation, -1) + ops.expand_dims(mean, -1)


class ForecastNet(nn.Module):
    """Windows x (n, lookback, c) -> forecasts (n, horizon, c, q) of q numbers each: one, or several quantiles.

    Args:
        lookback, horizon: steps seen and steps foretold.
        channels: c.
        strategy: 'direct' reads the window step by step and foretells all steps from the last state. 'recursive'
            foretells one step and takes it as the next input, the middle one of several quantiles. 'segment' takes
            runs of `segment` steps as the steps of the recurrent layers; from their last state each segment to come is
            one step on an embedding of its position and channel (SegRNN, Lin et al., "SegRNN: segment recurrent neural
            network for long-term time series forecasting", 2023).
        cell: a name in FORECAST_CELLS. hidden, layers: of the recurrent layers.
        segment: steps of a segment; windows that are no multiple are continued to the left by their first value.
        sharing: 'independent' runs every channel alone through shared weights, 'joint' all at once.
        level: 'last' takes the window's last value off and adds it to the forecast; 'reversible' is
            `ReversibleNorm`; None leaves windows as they are.
        features: calendar features of each step.
        outputs: q.
        dropout: on states before the last map and between layers.
        seed: of weights and dropout.

    Raises:
        ArgumentError: an option that does not exist, or a number out of range.
    """

    def __init__(
        self, lookback: int, horizon: int, channels: int = 1, *, strategy: str = "direct", cell: str = "gru",
        hidden: int = 64, layers: int = 1, segment: int = 24, sharing: str = "independent", level: str | None = "last",
        features: int = 0, outputs: int = 1, dropout: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if strategy not in STRATEGIES or sharing not in CHANNELS or level not in LEVELS or cell not in FORECAST_CELLS:
            raise ArgumentError(
                f"ForecastNet: expected strategy in {STRATEGIES}, sharing in {CHANNELS}, level in {LEVELS} and cell in "
                f"{FORECAST_CELLS}, got {strategy!r}, {sharing!r}, {level!r} and {cell!r}"
            )
        if min(lookback, horizon, channels, hidden, layers, segment, outputs) < 1 or features < 0:
            raise ArgumentError(
                "ForecastNet: expected lookback, horizon, channels, hidden, layers, segment and outputs >= 1, got "
                f"{lookback}, {horizon}, {channels}, {hidden}, {layers}, {segment} and {outputs}"
            )
        self.lookback, self.horizon, self.channels, self.hidden = lookback, horizon, channels, hidden
        self.strategy, self.segment, self.sharing, self.level = strategy, segment, sharing, level
        self.features, self.outputs = features, outputs
        self.width = channels if sharing == "joint" else 1  # values of a step
        self.reversible = ReversibleNorm(channels) if level == "reversible" else None
        self.dropout = nn.Dropout(dropout, seed=seed + 1) if dropout else None
        shape: dict[str, Any] = {
            "cell": cell,
            "layers": layers,
            "dropout": dropout if layers > 1 else 0.0,
            "seed": seed,
        }
        if cell in ("lstm", "coupled"):
            shape["gate_init"] = 1.0
        final: dict[str, Any] = {"init": "glorot_uniform", "seed": seed + 2}
        if strategy == "segment":
            self.targets = -(-horizon // segment)
            self.embed = nn.Linear(segment * (self.width + features), hidden, activation="relu", seed=seed + 3)
            self.recurrent = nn.Recurrent(hidden, hidden, **shape)
            self.several = self.width < channels
            at = hidden // 2 if self.several else hidden
            rng = np.random.default_rng(seed + 4)
            self.position = nn.Parameter(tensor(rng.normal(0, 1, (self.targets, at)).astype(np.float32)))
            if self.several:
                own = rng.normal(0, 1, (channels, hidden - at)).astype(np.float32)
                self.channel = nn.Parameter(tensor(own))
            self.calendar = nn.Linear(segment * features, hidden, seed=seed + 5) if features else None
            self.head = nn.Linear(hidden, segment * self.width * outputs, **final)
        else:
            self.recurrent = nn.Recurrent(self.width + features, hidden, **shape)
            self.calendar = nn.Linear(features, self.width * outputs, seed=seed + 5) if features else None
            steps = horizon if strategy == "direct" else 1
            self.head = nn.Linear(hidden, steps * self.width * outputs, **final)

    def forward(self, x: Tensor, past: Tensor | None = None, future: Tensor | None = None) -> Tensor:
        """x (n, lookback, c) -> (n, horizon, c, outputs).

        past (n, lookback, features) and future (n, horizon, features): calendar features, where the net has any.
        ShapeError where sizes differ.
        """
        n = x.shape[0]
        if x.ndim != 3 or x.shape[1:] != (self.lookback, self.channels):
            raise ShapeError(f"ForecastNet: expected x (n, {self.lookback}, {self.channels}), got {x.shape}")
        for name, calendar, steps in (("past", past, self.lookback), ("future", future, self.horizon)):
            expected = (n, steps, self.features) if self.features else None
            if (None if calendar is None else calendar.shape) != expected:
                raise ShapeError(
                    f"ForecastNet: expected {name} of shape {expected}, "
                    f"got {None if calendar is None else calendar.shape}"
                )
        mean = deviation = None
        if self.reversible is not None:
            x, mean, deviation = self.reversible(x)
        elif self.level == "last":
            mean = ops.narrow(x, 1, self.lookback - 1, 1)
            x = x - mean
        rows = self._rows(x)
        run = {"direct": self._direct, "recursive": self._recursive, "segment": self._segments}[self.strategy]
        y = run(rows, self._shared(past), self._shared(future))
        if self.sharing == "independent":
            y = ops.swap_axes(ops.reshape(y, n, self.channels, self.horizon, self.outputs), 1, 2)
        if self.reversible is not None:
            assert mean is not None and deviation is not None
            return self.reversible.inverse(y, mean, deviation)
        return y if mean is None else y + ops.expand_dims(mean, -1)

    def _rows(self, x: Tensor) -> Tensor:
        """(n, t, c) -> sequences (n c, t, 1) of each channel, or as it is for joint channels."""
        return x if self.sharing == "joint" else ops.reshape(ops.swap_axes(x, 1, 2), -1, x.shape[1], 1)

    def _shared(self, calendar: Tensor | None) -> Tensor | None:
        """Features (n, t, f) for every row of `_rows`."""
        if calendar is None or self.sharing == "joint" or self.channels == 1:
            return calendar
        n, t, f = calendar.shape
        spread = ops.broadcast_to(ops.reshape(calendar, n, 1, t, f), (n, self.channels, t, f))
        return ops.reshape(spread, -1, t, f)

    def _dropped(self, h: Tensor) -> Tensor:
        return h if self.dropout is None else self.dropout(h)

    def _read(self, rows: Tensor, past: Tensor | None) -> tuple[Tensor, RecurrentState]:
        y, state = self.recurrent(rows if past is None else ops.concatenate([rows, past], -1))
        return y[:, -1], state

    def _step(self, x: Tensor, state: RecurrentState | None) -> tuple[Tensor, RecurrentState]:
        """One step of the recurrent layers; in training dropout between layers draws a mask of its own."""
        if self.training:
            y, state = self.recurrent(ops.expand_dims(x, 1), state=state)
            return ops.squeeze(y, 1), state
        return self.recurrent.step(x, state)

    def _direct(self, rows: Tensor, past: Tensor | None, future: Tensor | None) -> Tensor:
        last, _ = self._read(rows, past)
        y = ops.reshape(self.head(self._dropped(last)), -1, self.horizon, self.width * self.outputs)
        if self.calendar is not None:
            y = y + self.calendar(future)
        return ops.reshape(y, -1, self.horizon, self.width, self.outputs)

    def _recursive(self, rows: Tensor, past: Tensor | None, future: Tensor | None) -> Tensor:
        last, state = self._read(rows, past)
        each = []
        for i in range(self.horizon):
            y = self.head(self._dropped(last))
            now = None if future is None else future[:, i]
            if self.calendar is not None:
                y = y + self.calendar(now)
            each.append(ops.reshape(y, -1, self.width, self.outputs))
            if i + 1 < self.horizon:
                value = each[-1][:, :, self.outputs // 2]
                last, state = self._step(value if now is None else ops.concatenate([value, now], -1), state)
        return ops.stack(each, 1)

    def _segments(self, rows: Tensor, past: Tensor | None, future: Tensor | None) -> Tensor:
        x = rows if past is None else ops.concatenate([rows, past], -1)
        short = -self.lookback % self.segment
        if short:
            first = ops.narrow(x, 1, 0, 1)
            x = ops.concatenate([ops.broadcast_to(first, (x.shape[0], short, x.shape[2])), x], 1)
        n, m = x.shape[0], x.shape[1] // self.segment
        _, state = self.recurrent(self.embed(ops.reshape(x, n, m, -1)))
        repeated = RecurrentState(self._repeated(state.h), None if state.c is None else self._repeated(state.c))
        y, _ = self._step(self._queries(n, future), repeated)
        y = ops.reshape(self.head(self._dropped(y)), n, -1, self.width, self.outputs)
        return y if y.shape[1] == self.horizon else ops.narrow(y, 1, 0, self.horizon)

    def _queries(self, n: int, future: Tensor | None) -> Tensor:
        """What stands for each segment to come, (n targets, hidden)."""
        m, hidden = self.targets, self.hidden
        query: Tensor = self.position
        if self.several:
            c, at = self.channels, query.shape[1]
            places = ops.broadcast_to(ops.reshape(query, 1, m, at), (c, m, at))
            own = ops.broadcast_to(ops.reshape(self.channel, c, 1, hidden - at), (c, m, hidden - at))
            query = ops.reshape(ops.concatenate([places, own], -1), c * m, hidden)
        query = ops.reshape(ops.broadcast_to(query, (n * m // query.shape[0], *query.shape)), n * m, hidden)
        if self.calendar is not None:
            assert future is not None
            short = -self.horizon % self.segment
            if short:
                last = ops.narrow(future, 1, self.horizon - 1, 1)
                future = ops.concatenate([future, ops.broadcast_to(last, (n, short, self.features))], 1)
            query = query + ops.reshape(self.calendar(ops.reshape(future, n, m, -1)), n * m, hidden)
        return query

    def _repeated(self, state: Tensor) -> Tensor:
        """States (layers, n, hidden) once for each segment to come, (layers, n targets, hidden)."""
        if self.targets == 1:
            return state
        layers, n, hidden = state.shape
        spread = ops.broadcast_to(ops.expand_dims(state, 2), (layers, n, self.targets, hidden))
        return ops.reshape(spread, layers, n * self.targets, hidden)

    def extra_repr(self) -> str:
        """The sizes in the text of the module."""
        return f"{self.lookback}, {self.horizon}, {self.channels}, strategy={self.strategy!r}, level={self.level!r}"


def naive_forecast(history: npt.ArrayLike, horizon: int, season: int = 1) -> npt.NDArray[np.float64]:
    """The last season repeated: history (..., n, channels) -> (..., horizon, channels); season=1: the last value.

    Raises:
        ArgumentError: a number is below 1, or the history is shorter than a season.
    """
    rows = np.asarray(history, np.float64)
    if rows.ndim < 2 or horizon < 1 or not 1 <= season <= rows.shape[-2]:
        raise ArgumentError(
            "naive_forecast: expected a history (..., n, channels), horizon >= 1 and season in 1..n, got "
            f"{rows.shape}, {horizon} and {season}"
        )
    return np.asarray(rows[..., rows.shape[-2] - season + np.arange(horizon) % season, :])


__all__ = ["CHANNELS", "FORECAST_CELLS", "LEVELS", "STRATEGIES", "ForecastNet", "ReversibleNorm", "naive_forecast"]
