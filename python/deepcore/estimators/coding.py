"""What one does with a fitted autoencoder: codes, reconstructions, scores, samples, compressed files."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepcore import ops, random, train
from deepcore.errors import ArgumentError, DataError, ShapeError
from deepcore.estimators import codec, rate
from deepcore.estimators.supervised import SupervisedEstimator
from deepcore.models import AutoencoderNet
from deepcore.nn.mapping import mapped
from deepcore.tensor import Tensor
from deepcore.train.reconstruction import gaussian_divergence

Array = npt.NDArray[Any]

_ROWS = 512  # samples of one inference call


class Coding(SupervisedEstimator):
    """Base of `Autoencoder`; it trains and provides what is named here."""

    sample_shape_: tuple[int, ...]
    n_features_in_: int
    output_: str
    shift_: Array
    scale_: Array
    code_activation: str
    corruption: Any
    variational: bool
    beta: float

    @abstractmethod
    def _task(self) -> train.Reconstruction:
        """The loss to train with."""

    @abstractmethod
    def _inputs(self, x: Any) -> Array:
        """Checked and scaled samples, as the net takes them."""

    def _shaped(self, y: Array) -> Array:
        """Outputs of the net in the units and the shape of the data."""
        result: Array = (y * self.scale_ + self.shift_).reshape(len(y), *self.sample_shape_)
        return result

    @property
    def _net(self) -> AutoencoderNet:
        net = self.model_
        assert isinstance(net, AutoencoderNet)
        return net

    def _batched(self, function: Callable[[Tensor], Tensor], x: Array) -> Array:
        return mapped(function, x, self.model_.device, _ROWS)

    def transform(self, X: Any) -> Array:
        """Codes (n, k), float32; the means of a variational net."""
        x = self._inputs(X)
        return self._batched(self._net.encode, x)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the entries of a code, for scikit-learn."""
        self._check_fitted()
        return np.asarray([f"autoencoder{i}" for i in range(self._code_size())], dtype=object)

    def _code_size(self) -> int:
        """Entries of a code."""
        return int(self._batched(self._net.encode, self._inputs(np.zeros((1, *self.sample_shape_)))).shape[1])

    def inverse_transform(self, codes: Any) -> Array:
        """Codes (n, k) -> samples in the shape and the units of the data. ShapeError for codes of another size."""
        self._check_fitted()
        values = np.ascontiguousarray(codes, dtype=np.float32)
        k = self._code_size()
        if values.ndim != 2 or values.shape[1] != k or len(values) == 0:
            raise ShapeError(f"Autoencoder.inverse_transform: expected codes (n, {k}), got {values.shape}")
        if not np.isfinite(values).all():
            raise DataError("Autoencoder.inverse_transform: expected finite codes")
        return self._shaped(self._batched(self._net.decode, values))

    def reconstruct(self, X: Any) -> Array:
        """The samples as the net rebuilds them."""
        return self._shaped(self._batched(self._net, self._inputs(X)))

    def denoise(self, X: Any) -> Array:
        """Noisy samples without their noise. ArgumentError for a net that was not trained with a corruption."""
        self._check_fitted()
        if self.corruption is None:
            raise ArgumentError("Autoencoder.denoise: needs an autoencoder trained with corruption=...")
        return self.reconstruct(X)

    def sample(self, n: int, random_state: int = 0) -> Array:
        """n new samples, decoded from codes drawn from N(0, I). ArgumentError unless variational."""
        self._check_fitted()
        if not self.variational:
            raise ArgumentError("Autoencoder.sample: needs variational=True")
        if n < 1:
            raise ArgumentError(f"Autoencoder.sample: expected n >= 1, got {n}")
        return self.inverse_transform(random.normal((n, self._code_size()), seed=random_state).numpy())

    def score_samples(self, X: Any) -> Array:
        """How well each sample is rebuilt, (n,): minus its squared error, of scaled values, summed.

        For a variational net: the lower bound on the log-likelihood in nats (up to a constant for loss 'squared'),
        estimated with one draw that is always the same.
        """
        x = self._inputs(X)
        net, task = self._net, self._task()

        def score(part: Tensor) -> Tensor:
            if not net.variational:
                return -_per_sample(ops.square(net(part) - part))
            mean, log_variance = net.distribution(part)
            # One draw for all samples: the score of a sample is the same in any company.
            noise = net.noise.draw((1, mean.shape[1]), part.device)
            values = net.decoder(mean + ops.exp(log_variance * 0.5) * noise)
            total = _per_sample(task.compare(net, values, part)[0])
            return -(total + ops.sum(gaussian_divergence(mean, log_variance), 1) * self.beta)

        return self._batched(score, x).astype(np.float64)

    def anomaly_score(self, X: Any) -> Array:
        """Minus `score_samples`: higher for samples unlike those of the training."""
        result: Array = -self.score_samples(X)
        return result

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`; higher is better."""
        return float(self.score_samples(X).mean())

    def binary_code(self, X: Any) -> npt.NDArray[np.uint8]:
        """Packed bits (n, ceil(k / 8)): which code units are above 1/2 (Salakhutdinov and Hinton, 2009).

        Needs code_activation='sigmoid'; code_noise in training makes the units decide. Search them with `HammingIndex`.
        """
        self._check_fitted()
        if self.code_activation != "sigmoid":
            raise ArgumentError("Autoencoder.binary_code: needs code_activation='sigmoid'")
        return np.packbits(self.transform(X) > 0.5, axis=1)

    # ---- compression ----
    def compress(
        self, path: str | os.PathLike[str], X: Any, *, bits: int | None = None, psnr: float | None = None
    ) -> dict[str, float]:
        """Write the codes of X, quantised and entropy-coded, to a file that describes itself, atomically.

        Args:
            path: the file.
            X: samples as for `fit`.
            bits: 2^bits levels over the range of each entry of the code (1..16).
            psnr: or: the coarsest steps with which the samples come back with so many dB. Steps are then in inverse
                proportion to what an entry of the code moves in the reconstruction. The peak is 1 (scaled data) for
                sigmoid outputs, else the range of X.

        Returns:
            bytes of the file, bits_per_value (all bits over the values of X), psnr in dB, compression (bytes of X as
            8-bit values over bytes of the file).

        Raises:
            ArgumentError: not exactly one of bits and psnr, or a target out of reach (the message has the limit).
        """
        if (bits is None) == (psnr is None):
            raise ArgumentError(f"Autoencoder.compress: expected either bits or psnr, got {bits!r} and {psnr!r}")
        x = self._inputs(X)
        content, reached = codec.encode(
            x, self._batched(self._net.encode, x), lambda codes: self._batched(self._net.decode, codes),
            peak=self._peak(x), bits=bits, psnr=psnr,
            facts={"fingerprint": self.fingerprint(), "sample_shape": list(self.sample_shape_)},
        )  # fmt: skip
        codec.write_file(path, content)
        return {"bytes": float(len(content)), "bits_per_value": 8 * len(content) / x.size, "psnr": reached,
                "compression": x.size / len(content)}  # fmt: skip

    def decompress(self, path: str | os.PathLike[str]) -> Array:
        """The samples of a file that `compress` of this net (same weights) wrote.

        Raises:
            DataError: another kind of file, one cut short or altered, or one of another net; nothing is decoded.
            OSError: the file cannot be read.
        """
        self._check_fitted()
        header, body = codec.read_file(path)
        if header.get("fingerprint") != self.fingerprint():
            raise DataError(f"Autoencoder.decompress: {os.fspath(path)} was compressed with another net")
        return self._shaped(self._batched(self._net.decode, codec.decode(header, body)))

    def _peak(self, x: Array) -> float:
        return 1.0 if self.output_ == "sigmoid" else float(x.max() - x.min()) or 1.0

    def rate_distortion(
        self, X: Any, *, bits: Sequence[int] = (1, 2, 3, 4, 5, 6, 8), reference: Any = None, jpeg: bool = False,
    ) -> list[dict[str, float]]:  # fmt: skip
        """Rate and distortion of `compress` at several `bits`, and what others reach in as many bytes.

        Args:
            X: samples to compress.
            bits: one row of the table each.
            reference: samples that give the principal components; None: X, which favours them (they are not counted).
                There are as many components as entries of a code; they go through the same quantiser and coder.
            jpeg: also pictures in one JPEG sheet, so that its header counts once (Pillow, the extra `viz`).

        Returns:
            rows with bits, bytes, bits_per_value, psnr, pca_psnr and, if asked for, jpeg_psnr, in dB; NaN where a
            method cannot come down to so few bytes.

        Raises:
            ArgumentError: jpeg without Pillow, or for samples that are not grey or RGB images in 0..1 (scaled).
        """
        x = self._inputs(X)
        flat, peak = x.reshape(len(x), -1), self._peak(x)
        codes = self._batched(self._net.encode, x)
        source = flat if reference is None else self._inputs(reference).reshape(-1, flat.shape[1])
        curves = {"pca_psnr": rate.principal_curve(flat, source, codes.shape[1], peak)}
        if jpeg:
            shape = self.sample_shape_ if len(self.sample_shape_) == 3 else (*self.sample_shape_, 1)
            if len(shape) != 3 or shape[2] not in (1, 3) or self.output_ != "sigmoid":
                raise ArgumentError(
                    f"Autoencoder.rate_distortion: jpeg is for images in 0..1 of 1 or 3 channels, got {shape}"
                )
            curves["jpeg_psnr"] = rate.jpeg_curve(flat.reshape(-1, *shape))
        rows = []
        for b in bits:
            content, reached = codec.encode(
                x, codes, lambda c: self._batched(self._net.decode, c), peak=peak, bits=b, psnr=None,
                facts={"fingerprint": self.fingerprint(), "sample_shape": list(self.sample_shape_)},
            )  # fmt: skip
            size = len(content)
            others = {name: rate.at_size(curve, size) for name, curve in curves.items()}
            rows.append({"bits": float(b), "bytes": float(size), "bits_per_value": 8 * size / x.size, "psnr": reached,
                         **others})  # fmt: skip
        return rows

    def fingerprint(self) -> str:
        """A hash of all weights and of the scaling: equal for nets that decode alike."""
        self._check_fitted()
        digest = hashlib.sha256(f"{self.sample_shape_}{self.output_}".encode())
        for name, value in sorted({**self.model_.state_dict(), "shift": self.shift_, "scale": self.scale_}.items()):
            digest.update(name.encode() + str(value.shape).encode() + np.ascontiguousarray(value).tobytes())
        return digest.hexdigest()


def _per_sample(values: Tensor) -> Tensor:
    """Sums (n,) over all axes but the first."""
    n = values.shape[0]
    return ops.sum(ops.reshape(values, n, values.size // n), 1)
