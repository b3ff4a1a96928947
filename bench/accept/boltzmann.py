"""Restricted Boltzmann machines: exact divergence of a small one, likelihood on MNIST, features for a classifier.

Hyper-parameters were chosen on the last 10,000 training images.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from bench.accept import Context, Result, figure
from deepcore import data, optim
from deepcore.estimators import RBM, MLPClassifier
from deepcore.nn import partition

Array = npt.NDArray[Any]
BINARISATION_SEED = 20260


def _pixels(images: Array) -> Array:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def _binarised(x: Array) -> Array:
    """Pixels drawn once from their intensities: the same for every run."""
    return (np.random.default_rng(BINARISATION_SEED).random(x.shape) < x).astype(np.float32)


def _annealed(model: RBM, x: Array, chains: int, count: int, name: str) -> partition.Partition:
    with tqdm(total=count - 1, desc=name, file=sys.stderr, unit=" temperatures") as bar:
        return model.log_partition("ais", chains=chains, count=count, data=x, progress=bar.update)


def bars_and_stripes(n: int) -> Array:
    """The 2^n pictures n x n of whole columns and the 2^n of whole rows (all and none are both): (2^(n+1), n^2)."""
    lines = (np.arange(1 << n)[:, None] >> np.arange(n)) & 1
    rows = np.repeat(lines, n, axis=1)
    columns = np.tile(lines, (1, n))
    return np.concatenate([rows, columns]).astype(np.float32)


@figure("rbm-bars", metric="exact KL divergence of bars and stripes 4x4, nats", target=0.2, better="low", seconds=60)
def rbm_bars(context: Context) -> Result:
    """16 hidden units, PCD-5 with the centred gradient; log Z against brute force and annealing."""
    pictures = bars_and_stripes(4)
    x = np.tile(pictures, (1000, 1))
    model = RBM(16, algorithm="pcd", k=5, centred=True, batch_size=100, learning_rate=0.1, schedule="linear",
                n_iter=32, random_state=context.seed, verbose=True, device=context.device)  # fmt: skip
    with context.timer:
        model.fit(x)
    exact = model.log_partition("exact").log_z
    brute = _brute_force(model)
    annealed = model.log_partition("ais", chains=200, count=10000)
    reverse = model.log_partition("reverse", chains=200, count=10000)
    demands = {
        "exact log Z equals brute force": abs(exact - brute) < 1e-6 * abs(brute),
        "AIS within 0.1 nat": abs(annealed.log_z - exact) < 0.1,
    }
    return model.kl_divergence(pictures), {
        "log_z_exact": exact, "log_z_brute_force": brute, "log_z_ais": annealed.log_z, "ais_error": annealed.error,
        "log_z_reverse": reverse.log_z, "epochs": model.n_iter_, "demands": demands,
    }  # fmt: skip


def _brute_force(model: RBM) -> float:
    """log Z from the energies of all 2^32 pairs of states, summed in two nested loops over halves."""
    w, b, c = (np.asarray(p, np.float64) for p in (model.components_, model.intercept_visible_,
                                                   model.intercept_hidden_))  # fmt: skip
    states = ((np.arange(1 << 16)[:, None] >> np.arange(16)) & 1).astype(np.float64)
    # Sum over h of e^(h.z) is a product over the units: both states of each are added up one unit after the other.
    log_rows = states @ b
    for unit in range(16):
        log_rows = np.logaddexp(log_rows, log_rows + states @ w[unit] + c[unit])
    top = log_rows.max()
    return float(top + np.log(np.exp(log_rows - top).sum()))


@figure("rbm-mnist", metric="test log-likelihood, nats", target=-86.3, better="high", seconds=360)
def rbm_mnist(context: Context) -> Result:
    """784-500 by PCD-1 on digits drawn anew at each step; log Z by annealing."""
    x, _, x_test, _ = data.load_mnist(context.folder("mnist"))
    pixels, test = _pixels(x), _binarised(_pixels(x_test))
    model = RBM(500, algorithm="pcd", k=1, binarize=True, batch_size=100, learning_rate=0.05, schedule="linear",
                n_iter=150, random_state=context.seed, verbose=True, device=context.device)  # fmt: skip
    with context.timer:
        model.fit(pixels)
    first = _annealed(model, pixels, 200, 10000, "AIS 1")
    second = _annealed(model, pixels, 200, 10000, "AIS 2")
    reverse = model.log_partition("reverse", chains=100, count=2000, data=pixels,
                                  samples=model.sample(100, steps=2000, init=test[:100]))  # fmt: skip
    log_z = float(np.logaddexp(first.log_z, second.log_z) - np.log(2))
    value = float(partition.log_likelihood(model.model_, test, log_z).mean())
    small = RBM(20, algorithm="pcd", binarize=True, learning_rate=0.05, n_iter=1, random_state=context.seed,
                device=context.device).fit(pixels[:10000])  # fmt: skip
    small_exact = small.log_partition("exact").log_z
    small_ais = small.log_partition("ais", chains=200, count=10000, data=pixels)
    return value, {
        "log_z": [first.log_z, second.log_z], "ais_errors": [first.error, second.error],
        "log_z_reverse": reverse.log_z, "epochs": model.n_iter_,
        "hidden_20": {"log_z_exact": small_exact, "log_z_ais": small_ais.log_z, "error": small_ais.error},
        "train_minus_test": float(partition.log_likelihood(model.model_, _binarised(pixels[:10000]), log_z).mean()
                                  - value),
        "demands": {"two seeds within 0.3 nats": abs(first.log_z - second.log_z) < 0.3},
    }  # fmt: skip


@figure("rbm-mnist-lisa", metric="pseudo-log-likelihood, nats", target=-63.0, better="high", seconds=480)
def rbm_mnist_lisa(context: Context) -> Result:
    """784-500, PCD-15, batch 20, 15 epochs: the recipe of the Deep Learning Tutorials (LISA lab)."""
    x, _, x_test, _ = data.load_mnist(context.folder("mnist"))
    train, test = _pixels(x), _pixels(x_test)
    model = RBM(500, algorithm="pcd", k=15, batch_size=20, chains=20, learning_rate=0.1, schedule="linear", n_iter=15,
                random_state=context.seed, verbose=True, device=context.device)  # fmt: skip
    with context.timer:
        model.fit(train)
    value = model.pseudo_log_likelihood(train)
    return value, {"test": model.pseudo_log_likelihood(test), "epochs": model.n_iter_,
                   "history": [round(h["pseudo_log_likelihood"], 2) for h in model.history_]}  # fmt: skip


@figure("rbm-features", metric="test accuracy", target=0.975, better="high", seconds=300)
def rbm_features(context: Context) -> Result:
    """Sparse features of a machine with 1,000 hidden units (each on for a tenth of the digits), and logistic regression
    on them."""
    x, y, x_test, y_test = data.load_mnist(context.folder("mnist"))
    train, test = _pixels(x), _pixels(x_test)
    rbm = RBM(1000, algorithm="cd", k=1, visible_means=True, batch_size=100, learning_rate=0.05,
              momentum=((0, 0.5), (3, 0.9)), weight_decay=1e-5, sparsity_target=0.1, sparsity_cost=0.1,
              schedule=optim.LinearDecay(600 * 20), n_iter=20, random_state=context.seed, verbose=True,
              device=context.device)  # fmt: skip
    logistic = MLPClassifier(
        (), learning_rate=5e-3, schedule="one-cycle", batch_size=128, epochs=20, standardize=False,
        random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        logistic.fit(rbm.fit_transform(train), y)
    return logistic.score(rbm.transform(test), y_test), {"kl": rbm.kl_, "epochs": rbm.n_iter_}
