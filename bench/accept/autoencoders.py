"""Autoencoders of digits and of payments: official splits, the test set touched once at the end.

Nets and hyper-parameters were chosen on 5,000 of the 60,000 training digits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.accept import Context, Result, figure
from deepcore import data, metrics
from deepcore.estimators import DBN, Autoencoder, codec
from deepcore.estimators.rate import PrincipalComponents

Array = npt.NDArray[Any]

CODE = 30


def _digits(context: Context) -> tuple[Array, Array, Array]:
    """Pixels in 0..1 of the training digits but 5,000, of those, and of the test digits, (n, 784) each."""
    x, _, test, _ = data.load_mnist(context.folder("mnist"))
    rows = [a.reshape(len(a), -1).astype(np.float32) / 255 for a in (x, test)]
    return rows[0][:-5000], rows[0][-5000:], rows[1]


def _squared_error(x: Array, y: Array) -> float:
    """Summed over values, mean over samples."""
    return float(((x.astype(np.float64) - y) ** 2).reshape(len(x), -1).sum(1).mean())


@figure("ae-mnist", metric="squared error per test image", target=3.0, better="low", seconds=360)
def ae_mnist(context: Context) -> Result:
    """784-1000-500-250-30 and its mirror image. Beside it: PCA of 30 components, a fine-tuning by L-BFGS, and the same
    net from a deep belief net, before and after six epochs of fine-tuning."""
    x, held, test = _digits(context)
    x = np.concatenate([x, held])
    model = Autoencoder(
        (1000, 500, 250, CODE), activation="silu", loss="cross_entropy", learning_rate=4e-3, schedule="one-cycle",
        batch_size=128, epochs=30, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(x)
    error = -model.score(test)
    pca = PrincipalComponents(x, CODE)
    also: dict[str, Any] = {
        "epochs": len(model.history_), "train_squared_error": model.history_[-1]["squared_error"],
        "pca_30": _squared_error(test, pca.decode(pca.encode(test))),
    }  # fmt: skip
    context.progress(f"squared error {error:.4f}; now L-BFGS")
    model.set_params(loss="squared").fine_tune(x, "lbfgs", batch_size=20_000, iterations=4)
    also["after_lbfgs"] = -model.score(test)
    context.progress("now from a deep belief net")
    unrolled = _from_dbn(context, x)
    also["dbn_pretrained"] = -unrolled.score(test)
    unrolled.fine_tune(x, "adam", epochs=6, learning_rate=3e-3)
    return error, {**also, "dbn_fine_tuned": -unrolled.score(test)}


def _from_dbn(context: Context, x: Array) -> Autoencoder:
    """The same sizes from a deep belief net with Gaussian code units (Hinton and Salakhutdinov, 2006), a few epochs a
    layer."""
    code = {"hidden_units": "gaussian", "learning_rate": 1e-3}
    dbn = DBN((1000, 500, 250, CODE), settings=({}, {}, {}, code), n_iter=4, learning_rate=0.1,
              random_state=context.seed, verbose=True, device=context.device).fit(x)  # fmt: skip
    return Autoencoder.from_dbn(dbn, loss="cross_entropy", batch_size=128, random_state=context.seed, verbose=True,
                                device=context.device)  # fmt: skip


@figure("ae-denoise", metric="PSNR above the better of median and PCA, dB", target=3.0, better="high", seconds=300)
def ae_denoise(context: Context) -> Result:
    """Gaussian noise of deviation 0.5, clipped to 0..1 as a picture is, for all methods alike."""
    x, held, test = _digits(context)
    noise = data.Corruption("gaussian", 0.5, clip=True, seed=1000 + context.seed)
    noisy_held, noisy = noise.apply(held), noise.apply(test, epoch=1)
    pca = PrincipalComponents(x, 200)
    count = max(range(5, 201, 5), key=lambda k: _psnr(held, np.clip(pca.decode(pca.encode(noisy_held)[:, :k]), 0, 1)))
    size = max((3, 5, 7), key=lambda k: _psnr(held[:1000], _median(noisy_held[:1000], k)))
    model = Autoencoder(
        (), channels=(32, 64), activation="relu", loss="cross_entropy", learning_rate=3e-3, schedule="one-cycle",
        epochs=4, corruption={"kind": "gaussian", "amount": 0.5, "clip": True}, random_state=context.seed, verbose=True,
        device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(x.reshape(-1, 28, 28))
    psnr = _psnr(test, model.denoise(noisy.reshape(-1, 28, 28)).reshape(len(noisy), -1))
    others = {
        "noisy": _psnr(test, noisy), f"median_{size}": _psnr(test, _median(noisy, size)),
        f"pca_{count}": _psnr(test, np.clip(pca.decode(pca.encode(noisy)[:, :count]), 0, 1)),
    }  # fmt: skip
    gain = psnr - max(v for k, v in others.items() if k != "noisy")
    return gain, {"psnr": psnr, **others, "noise": "deviation 0.5, clipped to 0..1", "epochs": len(model.history_)}


def _psnr(x: Array, y: Array) -> float:
    return codec.psnr_of(x, y, 1.0)


def _median(x: Array, size: int) -> Array:
    """The median of size x size pixels around each, edges repeated."""
    half = size // 2
    result = np.empty_like(x)
    for i in range(0, len(x), 1000):
        images = np.pad(x[i : i + 1000].reshape(-1, 28, 28), ((0, 0), (half, half), (half, half)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
        result[i : i + 1000] = np.median(windows.reshape(*windows.shape[:3], -1), axis=3).reshape(-1, 784)
    return result


@figure("ae-codec", metric="bytes saved against PCA-30 at equal PSNR", target=0.25, better="high")
def ae_codec(context: Context) -> Result:
    """The test digits in a file: codes of a net, and 30 principal components through the same quantiser and coder.

    Both take the coarsest steps that reach a PSNR: 0.5 and 1.5 dB below what 30 exact components give on held-out
    digits. The value is the smaller saving of the two. Variational codes pay for every bit in training (their
    divergence from N(0, I)) and learn to stand noise, so they save far more than those of a plain net (0.33 and 0.14).
    """
    x, held, test = _digits(context)
    model = Autoencoder(
        (1000, 500, 250, CODE), activation="silu", loss="cross_entropy", variational=True, learning_rate=2e-3,
        schedule="one-cycle", epochs=6, random_state=context.seed, verbose=True, device=context.device,
    )  # fmt: skip
    with context.timer:
        model.fit(x)
    pca = PrincipalComponents(x, CODE)
    goal = _psnr(held, pca.decode(pca.encode(held))) - 0.5
    points = {}
    with tempfile.TemporaryDirectory() as folder:
        for psnr in (goal - 1.0, goal):
            ours = model.compress(Path(folder) / "codes", test, psnr=psnr)
            again = model.decompress(Path(folder) / "codes")
            content, reached = codec.encode(
                test, pca.encode(test), lambda codes: pca.decode(codes.astype(np.float64)), peak=1.0, bits=None,
                psnr=psnr, facts={},
            )  # fmt: skip
            points[f"{psnr:.2f} dB"] = {"bytes": ours["bytes"], "pca_bytes": len(content), "psnr": ours["psnr"],
                                        "pca_psnr": reached, "decoded_psnr": _psnr(test, again)}  # fmt: skip
    fair = all(
        abs(p["psnr"] - p["pca_psnr"]) < 0.05 and abs(p["decoded_psnr"] - p["psnr"]) < 1e-6 for p in points.values()
    )
    saving = min(1 - p["bytes"] / p["pca_bytes"] for p in points.values())
    return saving, {"points": points, "demands": {"equal PSNR": fair}}


@figure("fraud-ae", metric="mean AUC of 5 splits", target=0.957, better="high", seconds=300)
def fraud_ae(context: Context) -> Result:
    """Card payments without their time, trained on 70 % of the normal ones; the rest and all frauds are the test.

    The set is easy: the plain sum of squares of the standardised features does nearly as well.
    """
    table = data.read_csv(context.folder("creditcard_fraud") / "creditcard_sample.csv.gz", "Class", True)
    assert table.y is not None
    x, fraud = table.x[:, 2:], table.y > 0.5  # without the number of the row and the time
    scores: dict[str, list[float]] = {"autoencoder": [], "pca": [], "sum_of_squares": []}
    for split in range(5):
        normal = np.random.default_rng(1000 * context.seed + split).permutation(np.flatnonzero(~fraud))
        cut = round(0.7 * len(normal))
        inside, outside = x[normal[:cut]], np.concatenate([x[normal[cut:]], x[fraud]])
        truth = np.repeat([0, 1], [len(normal) - cut, int(fraud.sum())])
        model = Autoencoder((16, 8), activation="tanh", scaling="standard", epochs=60, learning_rate=3e-3,
                            batch_size=64, schedule="one-cycle", random_state=split, device=context.device)  # fmt: skip
        with context.timer:
            model.fit(inside)
        z = (outside - inside.mean(0)) / inside.std(0)
        pca = PrincipalComponents((inside - inside.mean(0)) / inside.std(0), 8)
        scores["autoencoder"].append(metrics.roc_auc(truth, model.anomaly_score(outside)))
        scores["pca"].append(metrics.roc_auc(truth, ((z - pca.decode(pca.encode(z))) ** 2).sum(1)))
        scores["sum_of_squares"].append(metrics.roc_auc(truth, (z**2).sum(1)))
    return float(np.mean(scores["autoencoder"])), {
        "each": scores["autoencoder"], **{k: float(np.mean(v)) for k, v in scores.items() if k != "autoencoder"},
        "note": "the set is easy: the sum of squares alone does nearly as well",
    }  # fmt: skip
