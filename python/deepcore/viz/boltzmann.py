"""Figures and reports of restricted Boltzmann machines and deep belief nets: filters, chains, parameters, activity."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

import deepcore
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.nn.mapping import mapped
from deepcore.ops import inplace
from deepcore.viz.autoencoder import code_map, picture_rows
from deepcore.viz.curves import histogram, histograms
from deepcore.viz.images import filters
from deepcore.viz.report import Report
from deepcore.viz.style import coloured, new_figure, sequential, style_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepcore import nn
    from deepcore.estimators.dbn import DBN
    from deepcore.estimators.rbm import RBM
    from deepcore.tensor import Tensor

Array = NDArray[Any]
Shape = tuple[int, ...]

_SHOWN = 12  # pictures in a row
_SAMPLES = 100  # rows of a map of activity: more than pixels show nothing
_STEPS = (1, 10, 100, 1000)


def hidden_filters(
    model: RBM | DBN, *, layer: int = 0, count: int = 64, columns: int | None = None, shape: Shape | None = None
) -> Figure:
    """The weights of the hidden units with the largest norms, as pictures: blue below zero, orange above.

    layer: of a deep belief net; the units of upper layers as linear combinations of the filters below them (Lee,
    Ekanadham, Ng, 2008). shape: of a picture, (h, w) or (h, w, 3); None: a square. ShapeError if pixels do not fit.
    """
    weights = _projected(model, layer)
    size = _picture_shape("hidden_filters", weights.shape[1], shape)
    strongest = np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:count]
    return filters(weights[strongest].reshape(-1, *size, *(() if len(size) == 3 else (1,))), columns)


def reconstructions(model: RBM | DBN, X: Any, *, count: int = 12, shape: Shape | None = None) -> Figure:
    """Inputs X (n, features) above what the machine makes of them; of a deep belief net one row per layer, the way up
    ending there. shape as in `hidden_filters`."""
    x = _dense(model, X)[:count]
    rows = {"input": x}
    if (net := _net(model)) is not None:
        for layer in range(len(net.rbms_)):
            rows["1 layer" if layer == 0 else f"{layer + 1} layers"] = _there_and_back(net, x, layer)
    else:
        rows["output"] = model.reconstruct(x)
    return _picture_rows(model, rows, shape, "reconstructions")


def daydreams(
    model: RBM | DBN, *, layer: int | None = None, steps: Sequence[int] = _STEPS, chains: int = 12, init: Any = None,
    shape: Shape | None = None,
) -> Figure:  # fmt: skip
    """Chains of the machine running freely, one column each: the means of the visible units after so many Gibbs steps.

    Args:
        model: the machine or the net.
        layer: of a deep belief net, the machine that runs (None: the top one); its states go down to pixels.
        steps: rows, ascending from 1.
        chains: columns.
        init: samples (chains, features) to start from, the first row; None: independent noise.
        shape: as in `hidden_filters`.

    The machine's random numbers are left where they were. ArgumentError for steps that do not ascend.
    """
    wanted = [int(s) for s in steps]
    if not wanted or wanted[0] < 1 or wanted != sorted(set(wanted)):
        raise ArgumentError(f"daydreams: expected ascending steps from 1, got {list(steps)}")
    rows: dict[str, Array] = {}
    start = None
    if init is not None:
        rows["start"] = start = _dense(model, init)[:chains]
        chains = len(start)
    net = _net(model)
    if net is None and layer not in (None, 0):
        raise ArgumentError(f"daydreams: expected layer 0 of a single machine, got {layer}")
    machine, at = (cast("RBM", model), 0) if net is None else _layer_of(net, layer)
    if start is not None and net is not None:
        start = _inputs_of(net, start, at)
    with _unmoved(machine.model_):
        for step, v in enumerate(machine.daydream(chains, init=start, mean=True), 1):
            if step in wanted:
                rows["1 step" if step == 1 else f"{step:,} steps"] = v if net is None else _pixels(net, at, v)
            if step == wanted[-1]:
                break
    return _picture_rows(model, rows, shape, "daydreams")


def dreams_of_labels(model: DBN, *, count: int = 12, steps: int = 500, shape: Shape | None = None) -> Figure:
    """A row of `DBN.generate`d pictures for each label of the associative memory. ArgumentError without labels.

    shape as in `hidden_filters`. The machine's random numbers are left where they were.
    """
    if not hasattr(model, "classes_"):
        raise ArgumentError("dreams_of_labels: expected a deep belief net trained with labels, got one without")
    with _unmoved(model.model_.top):
        rows = {str(label): model.generate(label, count, steps=steps) for label in model.classes_.tolist()}
    return _picture_rows(model, rows, shape, "dreams_of_labels")


def activity_map(H: ArrayLike, title: str = "") -> Figure:
    """Hidden means H (n, units), a row per sample, from 0 (white) to 1 or the largest (blue): the first 100 samples.

    Columns of one colour are units that do not tell samples apart; rows alike are samples not told apart (Hinton, "A
    practical guide to training restricted Boltzmann machines", 2012). ShapeError for another shape, DataError for
    values not finite.
    """
    values = np.asarray(H, np.float64)
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"activity_map: expected (n, units), got {values.shape}")
    if not np.isfinite(values).all():
        raise DataError("activity_map: expected finite values")
    values = values[:_SAMPLES]
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    figure = new_figure(8.8, 0.8 + min(3.2, max(1.0, 0.06 * len(values))))
    axes = figure.add_subplot()
    style_axes(axes, title, "hidden unit", "sample")
    axes.grid(False)
    axes.imshow(coloured(values, sequential(), low, high), aspect="auto", interpolation="nearest")
    return figure


def parameter_histograms(model: RBM) -> Figure:
    """Histograms of weights and biases, and below them of what the last epoch changed where `updates_` was kept."""
    named = {"weights": model.components_, "visible biases": model.intercept_visible_,
             "hidden biases": model.intercept_hidden_}  # fmt: skip
    if hasattr(model, "updates_"):
        named.update({f"last change of {name}": a for name, a in zip(named, model.updates_.values(), strict=True)})
    return histograms(named, columns=3)


# ---- reports ----
def rbm_report(
    model: RBM, path: str | os.PathLike[str], x: Any, y: Any = None, *, shape: Shape | None = None,
    title: str | None = None,
) -> None:  # fmt: skip
    """Write the HTML page behind `RBM.report`."""
    samples = _dense(model, x)
    units = model.model_.units
    hidden, visible = model.model_.weight.shape
    report = Report(
        title or "Restricted Boltzmann machine",
        f"{visible} {units.visible} and {hidden} {units.hidden} units, {model.algorithm.upper()}; "
        f"deepcore {deepcore.__version__} on {deepcore.isa()}",
    )
    cards = _facts(model.history_, samples, model.model_)
    error = float(((model.reconstruct(samples) - samples) ** 2).mean())
    cards["Reconstruction error"] = error
    if units.visible == "bernoulli" and units.hidden != "relu":
        cards["Pseudo-log-likelihood"] = f"{model.pseudo_log_likelihood(samples):.2f} nats"
    if hasattr(model, "partition_") and model.partition_.method in ("exact", "ais"):
        cards["Log-likelihood"] = f"{model.score(samples):.2f} nats"
    report.cards(cards)
    if model.history_:
        report.learning_curves(_curves(model.history_))
    if _fits(model, shape):
        report.figure("Filters", hidden_filters(model, columns=16, shape=shape), _FILTER_NOTE)
        report.figure("Reconstructions", reconstructions(model, samples, count=_SHOWN, shape=shape))
        report.figure("Chains", daydreams(model, init=samples[:_SHOWN], shape=shape),
                      "The machine running freely from samples; the means of the visible units are shown.")  # fmt: skip
    if "relu" not in units[:2]:
        energy = model.free_energy(samples)
        if _fits(model, shape):
            worst = np.argsort(-energy, kind="stable")[:_SHOWN]
            report.figure("Least expected samples", reconstructions(model, samples[worst], shape=shape),
                          "Those of the highest free energy.")  # fmt: skip
        report.figure("Free energy", histogram(energy, x="nats"), "Samples on the right are those it expects least.")
    codes = model.transform(samples)
    _parameters(report, model, codes, "")
    report.figure("Map of hidden states", code_map(codes, y), "The means of the hidden units by their first two "
                  "principal components, a point per sample.")  # fmt: skip
    report.save(path)


def dbn_report(
    model: DBN, path: str | os.PathLike[str], x: Any, y: Any = None, *, shape: Shape | None = None,
    title: str | None = None,
) -> None:  # fmt: skip
    """Write the HTML page behind `DBN.report`."""
    samples = _dense(model, x)
    sizes = "-".join(str(n) for n in (model.n_features_in_, *model.layers))
    labels = f", {len(model.classes_)} labels" if hasattr(model, "classes_") else ""
    report = Report(title or "Deep belief net", f"{sizes}{labels}; deepcore {deepcore.__version__} on {deepcore.isa()}")
    cards = _facts(model.history_, samples, model.model_)
    cards["Reconstruction error"] = float(((model.reconstruct(samples) - samples) ** 2).mean())
    report.cards(cards)
    if _fits(model, shape):
        if labels:
            report.figure("Dreams of each label", dreams_of_labels(model, shape=shape),
                          "The associative memory held at a label for 500 steps, then one pass down.")  # fmt: skip
        report.figure("Reconstructions", reconstructions(model, samples, count=_SHOWN, shape=shape),
                      "The way up ends after so many layers.")  # fmt: skip
    for layer, rbm in enumerate(model.rbms_):
        name = f"Layer {layer + 1}: "
        if rbm.history_:
            report.learning_curves(_curves(rbm.history_), f"{name}learning curves")
        if _fits(model, shape):
            note = _FILTER_NOTE if layer == 0 else "Linear combinations of the filters below. " + _FILTER_NOTE
            report.figure(f"{name}filters", hidden_filters(model, layer=layer, columns=16, shape=shape), note)
            report.figure(f"{name}chains", daydreams(model, layer=layer, init=samples[:_SHOWN], shape=shape),
                          "This machine running freely from samples, its states passed down.")  # fmt: skip
        _parameters(report, rbm, rbm.transform(_inputs_of(model, samples, layer)), name)
    tuned = [h for h in model.history_ if h["layer"] == "updown"]
    if tuned:
        report.learning_curves(_curves(tuned), "Up-down fine-tuning")
    report.figure("Map of codes", code_map(model.transform(samples), y), "The means of the top hidden units by their "
                  "first two principal components, a point per sample.")  # fmt: skip
    report.save(path)


_FILTER_NOTE = "Blue is negative, orange positive; the strongest first."


def _facts(history: Sequence[Mapping[str, Any]], samples: Array, model: Any) -> dict[str, str | int | float]:
    seconds = sum(float(r.get("seconds", 0.0)) for r in history)
    facts: dict[str, str | int | float] = {
        "Parameters": sum(q.size for q in model.parameters()), "Epochs": len(history),
        "Training time": f"{seconds:.1f} s", "Test samples": len(samples),
    }  # fmt: skip
    if history and "kl" in history[-1]:
        exact = history[-1]["kl_exact"]
        facts["KL divergence, exact" if exact else "KL divergence, per pixel"] = f"{history[-1]['kl']:.4g} nats"
    return facts


def _curves(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    hidden = ("samples_per_second", "clipped", "kl_exact", "layer")
    return [{k: v for k, v in r.items() if k not in hidden} for r in history]


def _parameters(report: Report, model: RBM, codes: Array, name: str) -> None:
    note = ""
    if hasattr(model, "updates_"):
        note = "What the last epoch changed; a step should change weights by about a thousandth of their size."
    titles = ("Weights and biases", "Hidden activity", "Mean activity of each unit")
    if name:
        titles = tuple(name + t[0].lower() + t[1:] for t in titles)  # type: ignore[assignment]
    report.figure(titles[0], parameter_histograms(model), note)
    report.figure(titles[1], activity_map(codes), "Hidden means of the first samples, white for 0: a column of one "
                  "colour is a unit that tells nothing.")  # fmt: skip
    report.figure(titles[2], histogram(codes.mean(0), x="mean over samples"),
                  "Units at either end are always off or always on.")  # fmt: skip


# ---- layers, pixels, states ----
def _net(model: Any) -> DBN | None:
    return model if hasattr(model, "rbms_") else None


def _dense(model: Any, x: Any) -> Array:
    """Samples as a checked matrix; missing entries are 0."""
    if _net(model) is None:
        dense: Array = model._dense(x)
        return dense
    values = np.ascontiguousarray(x, dtype=np.float32)
    if values.ndim != 2 or values.shape[1] != model.n_features_in_ or not np.isfinite(values).all():
        raise ShapeError(f"DBN: expected finite samples (n, {model.n_features_in_}), got {values.shape}")
    return values


def _layer_of(model: DBN, layer: int | None) -> tuple[RBM, int]:
    at = len(model.rbms_) - 1 if layer is None else layer
    if not 0 <= at < len(model.rbms_):
        raise ArgumentError(f"deep belief net: expected a layer from 0 to {len(model.rbms_) - 1}, got {layer}")
    return model.rbms_[at], at


def _features(model: Any) -> int:
    """Visible units that are pixels: labels are not."""
    return int(model.n_features_in_) - (int(model.visible_choice) if _net(model) is None else 0)


def _projected(model: Any, layer: int) -> Array:
    """Weights of a layer's units to the pixels, (units, features)."""
    net = _net(model)
    if net is None:
        if layer != 0:
            raise ArgumentError(f"hidden_filters: expected layer 0 of a single machine, got {layer}")
        own: Array = model.components_[:, : _features(model)]
        return own
    _layer_of(net, layer)
    weights = [w for w, _, _ in net.unroll()[: layer + 1]]
    result = weights[0]
    for w in weights[1:]:
        result = w @ result
    return result


def _inputs_of(model: DBN, x: Array, layer: int) -> Array:
    """What the machine of a layer sees of samples x, with equal shares for labels."""
    for rbm in model.rbms_[:layer]:
        x = rbm.transform(x)
    if layer == len(model.rbms_) - 1 and (classes := model.model_.classes):
        x = np.concatenate([x, np.full((len(x), classes), 1 / classes, np.float32)], 1)
    return x


def _pixels(model: DBN, layer: int, v: Array) -> Array:
    """States of the visible units of a layer's machine passed down to means of pixels."""

    def down(h: Tensor) -> Tensor:
        for below in range(layer - 1, -1, -1):
            h = model.model_.mean_below(below, h)
        return h

    units = model.layers[layer - 1] if layer else model.n_features_in_
    return mapped(down, np.ascontiguousarray(v[:, : int(units)]), model.model_.device)


def _there_and_back(model: DBN, x: Array, layer: int) -> Array:
    h = model.rbms_[layer].transform(_inputs_of(model, x, layer))
    if layer < len(model.rbms_) - 1:
        return _pixels(model, layer + 1, h)
    return _pixels(model, layer, model.rbms_[layer].inverse_transform(h))


@contextlib.contextmanager
def _unmoved(machine: nn.RBM) -> Iterator[None]:
    """Drawing pictures uses up no random numbers."""
    kept = np.array(machine.counter.numpy())
    try:
        yield
    finally:
        inplace.copy_into(kept, machine.counter)


def _picture_shape(owner: str, features: int, shape: Shape | None) -> Shape:
    if shape is None:
        side = math.isqrt(features)
        shape = (side, side)
        if side * side != features or side < 2:
            raise ShapeError(f"{owner}: {features} features are no square picture; give shape=(h, w) or (h, w, 3)")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3) or math.prod(shape) != features:
        raise ShapeError(f"{owner}: expected a shape (h, w) or (h, w, 3) of {features} values, got {shape}")
    return shape


def _fits(model: Any, shape: Shape | None) -> bool:
    """Whether samples are pictures: a shape was given (not ()), or they may be square."""
    features = _features(model)
    return bool(shape) if shape is not None else features > 3 and math.isqrt(features) ** 2 == features


def _picture_rows(model: Any, rows: Mapping[str, Array], shape: Shape | None, owner: str) -> Figure:
    features = _features(model)
    size = _picture_shape(owner, features, shape)
    values = {name: np.asarray(row[:, :features], np.float64) for name, row in rows.items()}
    low = min(float(v.min()) for v in values.values())
    high = max(float(v.max()) for v in values.values())
    if model.visible_units in ("bernoulli", "softmax"):
        low, high = 0.0, 1.0
    span = high - low if high > low else 1.0
    return picture_rows({n: np.clip((v - low) / span, 0, 1).reshape(-1, *size) for n, v in values.items()})


__all__ = [
    "activity_map",
    "daydreams",
    "dbn_report",
    "dreams_of_labels",
    "hidden_filters",
    "parameter_histograms",
    "rbm_report",
    "reconstructions",
]
