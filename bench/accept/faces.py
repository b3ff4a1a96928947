"""Faces swapped: the first person of each decade of ORL, and two people of LFW; held-out pictures seen once at the end.

Nets and hyper-parameters were chosen on pictures held out of the training part. No picture leaves this file.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.accept import Context, Result, figure
from deepcore import ops
from deepcore.estimators import FaceSwap, ImageClassifier
from deepcore.tensor import as_tensor

Array = npt.NDArray[Any]
Faces = dict[Any, Array]  # person -> pictures uint8 (n, 64, 64, c)

SIZE = 64
NAMED, KNOWN, RETURNED = 0.90, 0.95, 20.0  # what a figure demands: shares of pictures, decibel
WORSE = 3.0  # decibel by which codes that were never aligned must come back worse


def _read(archive: zipfile.ZipFile, name: str, box: tuple[int, int, int, int], mode: str) -> Array:
    from PIL import Image

    with Image.open(io.BytesIO(archive.read(name))) as picture:
        scaled = picture.convert(mode).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    return np.asarray(scaled).reshape(SIZE, SIZE, -1)


def orl(context: Context) -> Faces:
    """All 40 people, ten pictures each, the square of 92 x 92 below the tenth row."""
    with zipfile.ZipFile(context.folder("orl_faces") / "att_faces.zip") as archive:
        return {
            person: np.stack(
                [_read(archive, f"att_faces/s{person}/{i}.pgm", (0, 10, 92, 102), "L") for i in range(1, 11)]
            )
            for person in range(1, 41)
        }  # fmt: skip


def lfw(context: Context, people: tuple[str, ...]) -> Faces:
    """The middle 80 x 80 of the 100 x 100 crops, in the order of their names."""
    with zipfile.ZipFile(context.folder("lfw_faces") / "lfw_faces.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".jpg"))
        return {
            person: np.stack([_read(archive, n, (10, 10, 90, 90), "RGB") for n in names if f"/{person}/" in n])
            for person in people
        }


def _split(faces: Faces) -> tuple[Faces, Faces]:
    """Every fifth picture of each person is held out."""
    train = {p: np.delete(x, np.s_[4::5], 0) for p, x in faces.items()}
    return train, {p: x[4::5] for p, x in faces.items()}


def _joined(faces: Faces) -> tuple[Array, list[Any]]:
    return np.concatenate(list(faces.values())), [p for p, x in faces.items() for _ in x]


def _unit(faces: Array) -> Array:
    return faces.astype(np.float32) / np.float32(255)


def _decibel(x: Array, y: Array) -> float:
    """PSNR of pictures in [0, 1], the mean over them."""
    return float(np.mean(-10 * np.log10(((x - y) ** 2).mean((1, 2, 3)))))


def _measured(model: FaceSwap, judge: Judges, held: Faces, pairs: list[tuple[Any, Any]]) -> dict[str, float]:
    """SSIM of reconstructions, share of swaps that the judge gives the target's name, PSNR of there and back."""
    likeness: dict[Any, list[float]] = {}
    named, returned = [], []
    for source, target in pairs:
        own = _unit(held[source])
        again = model.reconstruct(own, source)
        likeness[source] = ops.ssim(as_tensor(own), as_tensor(again), reduction="none").numpy().tolist()
        swapped = model.swap(own, target, source=source)
        named += (judge.predict(np.round(255 * swapped).astype(np.uint8)) == target).tolist()
        returned.append(_decibel(own, model.swap(swapped, source, source=target)))
    return {
        "ssim": float(np.mean([v for own in likeness.values() for v in own])), "named": float(np.mean(named)),
        "swaps": len(named), "returned": float(np.mean(returned)),
    }  # fmt: skip


def _figure(
    context: Context, faces: Faces, people: list[Any], judge: Judges, known: float, model: FaceSwap,
    others: Array | None, steps_apart: int,
) -> Result:  # fmt: skip
    """Train on `people` (and others under one name), then measure swaps from each of them to each other."""
    train, held = _split({p: faces[p] for p in people})
    x, y = _joined(train)
    if others is not None:
        x, y = np.concatenate([x, others]), y + [type(people[0])()] * len(others)
    with context.timer:
        model.fit(x, y)
    pairs = [(a, b) for a in people for b in people if a != b]
    result = _measured(model, judge, held, pairs)
    context.progress(f"one encoder: {result}")
    # Two autoencoders that never met, on the first two people: with their codes aligned, and as they are.
    two = people[:2]
    x, y = _joined({p: train[p] for p in two})
    apart = FaceSwap("none", code=model.code, width=model.width, ssim_weight=model.ssim_weight, augment=model.augment,
                     steps=steps_apart, batch_size=model.batch_size, random_state=context.seed, verbose=True,
                     device=context.device).fit(x, y)  # fmt: skip
    both = [(two[0], two[1]), (two[1], two[0])]
    here = _measured(model, judge, held, both)
    aligned = _measured(apart, judge, held, both)
    plain = _measured(apart.set_params(align=None), judge, held, both)
    demands = {
        "judge names real faces": known >= KNOWN, "swaps are named as the target": result["named"] >= NAMED,
        "there and back": result["returned"] >= RETURNED,
        "separate codes without alignment are worse": plain["returned"] <= here["returned"] - WORSE,
    }  # fmt: skip
    return result["ssim"], {
        "demands": demands, "judge_accuracy": known, **result, "steps": model.n_iter_,
        "first_two": {"one_encoder": here, "separate_aligned": aligned, "separate_as_they_are": plain},
    }  # fmt: skip


class Judges:
    """Classifiers of people that differ in their seeds; what they say is the mean of their probabilities.

    On swaps of validation pictures single ones were apart by up to an eighth.
    """

    def __init__(self, members: list[ImageClassifier]) -> None:
        self.members = members

    def predict(self, x: Array) -> Array:
        """The name of each face."""
        chances = np.sum([m.predict_proba(x) for m in self.members], axis=0)
        names: Array = self.members[0].classes_[chances.argmax(1)]
        return names


def _judge(context: Context, faces: Faces, **options: Any) -> tuple[Judges, float]:
    """Three classifiers of people on the training pictures, and their accuracy on the held-out ones.

    They see each picture as it is and at half the resolution: they are to tell people apart, not sharp pictures from
    drawn ones.
    """
    train, held = _split(faces)
    x, y = _joined(train)
    half = ops.resize(ops.avg_pool2d(as_tensor(x.astype(np.float32)), 2), SIZE).numpy()
    soft = np.clip(np.round(half), 0, 255).astype(np.uint8)
    judge = Judges([
        ImageClassifier(
            "vgg-small", pooling="average", width=16, schedule="one-cycle", learning_rate=5e-3,
            augment={"shift": 3, "rotate": 8.0, "scale": 0.1, "flip": 0.5}, batch_size=32, test_augment="mirror",
            random_state=context.seed + 1 + 1000 * member, device=context.device, **options,
        ).fit(np.concatenate([x, soft]), y + y)
        for member in range(3)
    ])  # fmt: skip
    shown, names = _joined(held)
    known = float((judge.predict(shown) == np.asarray(names)).mean())
    context.progress(f"the judges name {known:.1%} of held-out real faces")
    return judge, known


@figure("faceswap-orl", metric="SSIM of held-out poses", target=0.80, better="high", seconds=480)
def faceswap_orl(context: Context) -> Result:
    """People 1, 11, 21 and 31, each swapped with each; pictures 5 and 10 of everyone held out; 36 others help."""
    faces = orl(context)
    people = [1, 11, 21, 31]
    judge, known = _judge(context, faces, epochs=60)
    others = np.concatenate([_split({p: x})[0][p] for p, x in faces.items() if p not in people])
    model = FaceSwap(shrink=0.5, pretrain=1500, exchange=1.0, steps=3600, batch_size=16, snapshot=200, ssim_weight=0.7,
                     augment={"warp": 0.01}, random_state=context.seed, verbose=True,
                     device=context.device)  # fmt: skip
    return _figure(context, faces, people, judge, known, model, others, steps_apart=600)


@figure("faceswap-lfw", metric="SSIM of held-out pictures", target=0.80, better="high", seconds=480)
def faceswap_lfw(context: Context) -> Result:
    """George W. Bush and Colin Powell in colour; every fifth picture held out."""
    people = ["George_W_Bush", "Colin_Powell"]
    faces = lfw(context, tuple(people))
    judge, known = _judge(context, faces, epochs=10)
    model = FaceSwap(exchange=0.5, steps=4000, batch_size=16, ssim_weight=0.7, augment={"warp": 0.01},
                     random_state=context.seed, verbose=True, device=context.device)  # fmt: skip
    return _figure(context, faces, people, judge, known, model, None, steps_apart=1200)
