"""FaceSwap on drawn faces: it learns, swaps, aligns separate codes, goes on where it stopped, refuses bad input."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcore.data import cartoon_faces, read_image
from deepcore.data.loader import Place
from deepcore.errors import ArgumentError, CheckpointError, DeviceError, NotFittedError, ShapeError
from deepcore.estimators import FaceSwap, ImageClassifier
from deepcore.train import BalancedFaces, FaceAugment

SIZE = 32
FACES = np.concatenate([cartoon_faces(p, 40, size=SIZE) for p in (0, 1)])
NAMES = np.repeat(["ann", "bob"], 40)
TEST = np.concatenate([cartoon_faces(p, 12, size=SIZE, seed=1) for p in (0, 1)])
TEST_NAMES = np.repeat(["ann", "bob"], 12)


def swapper(**options: Any) -> FaceSwap:
    small = {"width": 12, "code": 48, "steps": 300, "snapshot": 100, "augment": "light", "learning_rate": 2e-3}
    return FaceSwap(**{**small, "random_state": 0, **options})


def quick(**options: Any) -> FaceSwap:
    return swapper(**{"width": 4, "code": 8, "steps": 6, "snapshot": 2, "batch_size": 4, **options})


@pytest.fixture(scope="module")
def trained() -> FaceSwap:
    return swapper().fit(FACES, NAMES)


@pytest.fixture(scope="module")
def judge() -> ImageClassifier:
    """Who is it? A classifier trained apart."""
    model = ImageClassifier("lenet5", width=8, epochs=6, learning_rate=3e-3, random_state=1)
    return model.fit(FACES, NAMES)


def test_faces_come_back_and_swaps_are_the_other_person(trained: FaceSwap, judge: ImageClassifier) -> None:
    assert judge.score(TEST, TEST_NAMES) == 1
    assert trained.score(TEST, TEST_NAMES) > 0.6
    for source, target in (("ann", "bob"), ("bob", "ann")):
        own = TEST[source == TEST_NAMES]
        assert (judge.predict(trained.reconstruct(own, source)) == source).mean() > 0.9
        assert (judge.predict(trained.swap(own, target)) == target).mean() > 0.9
    assert [r["step"] for r in trained.history_] == [100, 200, 300] and trained.n_iter_ == 300
    assert trained.history_[-1]["ssim"] > trained.history_[0]["ssim"]


def test_a_swap_keeps_where_the_face_is(trained: FaceSwap) -> None:
    """The darkest row and column of a face move alike in source and swap: pose is in the code, not in the decoder."""
    own = TEST[TEST_NAMES == "ann"]
    swapped = trained.swap(own, "bob").astype(float)

    def middle(faces: Any) -> Any:
        darkness = 255 - faces.astype(float).mean(-1)
        weight = darkness / darkness.sum((1, 2), keepdims=True)
        return (weight * np.arange(SIZE)).sum((1, 2))

    assert np.corrcoef(middle(own), middle(swapped))[0, 1] > 0.7


def test_strength_goes_from_the_picture_to_the_swap(trained: FaceSwap) -> None:
    own = TEST[:3]
    np.testing.assert_array_equal(trained.swap(own, "bob", strength=0.0), own)
    whole, half = trained.swap(own, "bob").astype(float), trained.swap(own, "bob", strength=0.5).astype(float)
    np.testing.assert_allclose(half, (own + whole) / 2, atol=1)


def test_types_and_codes(trained: FaceSwap) -> None:
    swapped = trained.swap(TEST[:2], "bob")
    assert swapped.dtype == np.uint8 and swapped.shape == TEST[:2].shape
    floats = trained.swap(TEST[:2] / np.float32(255), "bob")
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats * 255, swapped, atol=0.51)
    codes = trained.transform(TEST[:2])
    assert codes.shape == (2, 48)
    moved = codes - trained.centre_[0] + trained.centre_[1]
    np.testing.assert_allclose(trained.inverse_transform(moved, "bob"), floats, atol=1e-5)
    both = np.concatenate([FACES[:40], FACES[:40, :, ::-1]])
    np.testing.assert_allclose(trained.transform(both).mean(0), trained.centre_[0], atol=1e-4)


def test_separate_codes_need_alignment(judge: ImageClassifier) -> None:
    apart = swapper(share="none", align=None).fit(FACES, NAMES)
    aligned = swapper(share="none").fit(FACES, NAMES)

    def there_and_back(model: FaceSwap) -> float:
        own = TEST[TEST_NAMES == "ann"] / np.float32(255)
        back = model.swap(model.swap(own, "bob", source="ann"), "ann", source="bob")
        return float(-10 * np.log10(((own - back) ** 2).mean()))

    np.testing.assert_array_equal(apart.reconstruct(TEST, TEST_NAMES), aligned.reconstruct(TEST, TEST_NAMES))
    assert there_and_back(aligned) > there_and_back(apart) + 2
    identity = np.eye(48)
    for rotation in aligned.rotation_:
        np.testing.assert_allclose(rotation @ rotation.T, identity, atol=1e-4)
    np.testing.assert_array_equal(apart.rotation_[1], identity)
    with pytest.raises(ArgumentError, match="say whose faces"):
        aligned.transform(TEST[:1])


@pytest.mark.parametrize("share", ["encoder", "none"])
def test_save_load_pickle(share: str, tmp_path: Path) -> None:
    model = quick(share=share, shrink=1.0).fit(FACES, NAMES)
    path = tmp_path / "swap.safetensors"
    model.save(path)
    expected = model.swap(TEST[:4], "bob", source="ann")
    for again in (FaceSwap.load(path), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(again.swap(TEST[:4], "bob", source="ann"), expected)
        assert again.get_params() == model.get_params() and again.history_ == model.history_
    with pytest.raises(CheckpointError, match="expected a ImageClassifier"):
        ImageClassifier.load(path)


@pytest.mark.parametrize("options", [{}, {"share": "none"}, {"pretrain": 3, "exchange": 1.0}], ids=str)
def test_a_resumed_run_equals_the_whole_one(options: dict[str, Any], tmp_path: Path) -> None:
    whole = quick(schedule=None, **options).fit(FACES, NAMES)
    path = tmp_path / "c.safetensors"
    quick(schedule=None, **{**options, "steps": 4}).fit(FACES, NAMES, checkpoint=path)
    rest = quick(schedule=None, **options).fit(FACES, NAMES, checkpoint=path, resume=True)
    for name, weights in whole.model_.state_dict().items():
        np.testing.assert_array_equal(rest.model_.state_dict()[name], weights, err_msg=name)


def test_people_part_after_the_joint_steps() -> None:
    def decoders(**options: Any) -> list[dict[str, Any]]:
        model = quick(**options).fit(FACES, NAMES)
        return [d.state_dict() for d in model.model_.decoders]

    def equal(pair: list[dict[str, Any]]) -> bool:
        return all(np.array_equal(pair[0][name], pair[1][name]) for name in pair[0])

    assert equal(decoders(pretrain=6))
    assert not equal(decoders(pretrain=4)) and not equal(decoders())


def test_exchanged_codes_make_decoders_disregard_whom_a_code_shows(judge: ImageClassifier) -> None:
    model = swapper(steps=400, pretrain=150, exchange=1.0, align=None).fit(FACES, NAMES)
    own = TEST[TEST_NAMES == "ann"]
    assert (judge.predict(model.swap(own, "bob")) == "bob").mean() > 0.9  # without an exchange it is never bob
    model = quick(exchange=1.0).fit(FACES, NAMES)
    assert (model.model_.means.numpy() != 0).any()


@pytest.mark.parametrize("share", ["encoder", "none"])
def test_shrunk_codes_keep_what_the_target_varies_in(share: str) -> None:
    whole, shrunk = (quick(share=share, shrink=s, steps=40).fit(FACES, NAMES) for s in (0.0, 2.0))
    assert whole.kept_.shape == (1, 8, 8) and shrunk.kept_.shape == (2, 8, 8)
    np.testing.assert_array_equal(
        whole.model_.encoders[0][0].weight.numpy(), shrunk.model_.encoders[0][0].weight.numpy()
    )
    for kept, name in zip(shrunk.kept_, ("ann", "bob"), strict=True):
        values = np.linalg.eigvalsh((kept + kept.T) / 2)
        assert values.min() > -1e-5 and 0.3 < values.max() < 1
        own = shrunk.transform(FACES[name == NAMES], source=name)
        own = own - own.mean(0)
        spread = np.linalg.norm(own, axis=0)
        assert (own @ kept)[:, spread.argmax()].std() > 2 * (own @ kept)[:, spread.argmin()].std()
    away = np.linalg.norm(whole._carried(whole.transform(TEST[:12], source="ann"), 0, 1) - whole.centre_[1])
    assert np.linalg.norm(shrunk._carried(shrunk.transform(TEST[:12], source="ann"), 0, 1) - shrunk.centre_[1]) < away
    np.testing.assert_array_equal(whole.reconstruct(TEST, TEST_NAMES), shrunk.reconstruct(TEST, TEST_NAMES))


def test_shrunk_codes_leave_out_light() -> None:
    model = quick(shrink=1.0, steps=40).fit(FACES, NAMES)
    who = (NAMES == "bob").astype(np.int64)
    darker = model.transform((FACES * 0.7).astype(np.uint8)) - model.transform(FACES)
    left = []
    for light in (0.0, 0.9):
        model._align(FACES, who, FaceAugment(light=light, colour=0.0), 0)
        left.append(np.linalg.norm(darker @ model.kept_[1]))
    assert left[1] < 0.6 * left[0]


def test_previews_show_the_same_faces_at_each_snapshot(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    quick().fit(FACES, NAMES, preview=tmp_path / "preview")
    files = sorted((tmp_path / "preview").iterdir())
    assert [f.name for f in files] == [f"step-{s:08d}.png" for s in (2, 4, 6)]
    pictures = [read_image(f) for f in files]
    # 8 rows of faces; columns: source, reconstruction, swap to each; 2 white pixels around each face
    assert pictures[0].shape == (8 * (SIZE + 4), 4 * (SIZE + 4), 3)
    np.testing.assert_array_equal(pictures[0][2 : 2 + SIZE, 2 : 2 + SIZE], FACES[0])
    np.testing.assert_array_equal(pictures[0][:, : SIZE + 4], pictures[2][:, : SIZE + 4])
    assert (pictures[0] != pictures[2]).any()


def test_more_than_two_people_and_numbers_as_names() -> None:
    faces = np.concatenate([FACES, cartoon_faces(2, 5, size=SIZE)])
    model = quick().fit(faces, np.repeat([3, 5, 9], [40, 40, 5]))
    assert model.swap(TEST[:2], 9, source=3).shape == TEST[:2].shape
    with pytest.raises(ArgumentError, match=r"say whose faces they are .* \[3, 5, 9\]"):
        model.swap(TEST[:2], 9)
    plain = quick(align=None).fit(faces, np.repeat([3, 5, 9], [40, 40, 5]))
    np.testing.assert_array_equal(plain.swap(TEST[:2], 9), plain.swap(TEST[:2], 9, source=3))
    assert model.preview(faces[:1], [3]).shape == (SIZE + 4, 5 * (SIZE + 4), 3)


# ---- random changes ----
def test_draws_are_balanced_and_go_through_all_faces() -> None:
    labelled = np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1)
    draws = BalancedFaces(labelled, np.repeat([0, 1], [40, 10]), 2, 40, seed=5)

    def epoch(number: int, order: Any = None) -> tuple[Any, Any]:
        order = np.arange(40) if order is None else order
        faces, who = draws.pick(draws[order], Place(number, 0, order))
        return faces[:, 0, 0, 0], who

    first, who = epoch(0)
    second, _ = epoch(1)
    assert (np.bincount(who) == 20).all()
    assert sorted([*first[who == 0], *second[who == 0]]) == list(range(40))  # 40 faces, once each in two epochs
    assert sorted(first[who == 1]) == sorted(2 * list(range(40, 50)))  # ten faces, shown twice
    assert first[who == 1][:10].tolist() != first[who == 1][10:].tolist()
    order = np.array([7, 3, 30])
    np.testing.assert_array_equal(epoch(1, order)[0], second[order])


def test_steps_are_rounded_up_to_equal_snapshots() -> None:
    assert [r["step"] for r in quick(steps=7, snapshot=3).fit(FACES, NAMES).history_] == [3, 6, 9]
    assert [r["step"] for r in quick(steps=10, snapshot=7).fit(FACES, NAMES).history_] == [5, 10]
    assert [r["step"] for r in quick(steps=2, snapshot=100).fit(FACES, NAMES).history_] == [2]


def test_random_changes_depend_on_the_draw_alone() -> None:
    change = FaceAugment(seed=3)
    together = change((FACES[:6], NAMES[:6]), Place(2, 0, np.arange(6)))
    alone = change((FACES[4:5], NAMES[4:5]), Place(2, 9, np.array([4])))
    np.testing.assert_array_equal(together[0][4:5], alone[0])
    np.testing.assert_array_equal(together[1][4:5], alone[1])
    later = change((FACES[4:5], NAMES[4:5]), Place(3, 9, np.array([4])))
    assert (later[0] != alone[0]).any()


def test_each_random_change_does_what_it_says() -> None:
    off = {"warp": 0.0, "flip": 0.0, "rotate": 0.0, "zoom": 0.0, "shift": 0.0, "light": 0.0, "colour": 0.0}
    place = Place(0, 0, np.arange(8))
    clean = FACES[:8] / np.float32(255)

    def changed(**on: float) -> tuple[Any, Any]:
        warped, target, _, _ = FaceAugment(**{**off, **on})((FACES[:8], NAMES[:8]), place)
        return warped, target

    for pictures in changed():
        np.testing.assert_allclose(pictures, clean, atol=1e-4)
    warped, target = changed(warp=0.05)
    np.testing.assert_allclose(target, clean, atol=1e-4)
    assert np.abs(warped - clean).max() > 0.1
    np.testing.assert_allclose(changed(flip=1.0)[1], clean[:, :, ::-1], atol=1e-4)
    for option in ("rotate", "zoom", "shift", "light", "colour"):
        warped, target = changed(**{option: 5.0 if option == "rotate" else 0.2})
        np.testing.assert_array_equal(warped, target)
        assert np.abs(target - clean).max() > 0.02, option
    grey = changed(light=0.3)[1]
    assert grey.min() >= 0 and grey.max() <= 1


# ---- refusals ----
@pytest.mark.parametrize(
    ("x", "y", "error", "text"),
    [
        (FACES[..., 0], NAMES, ShapeError, r"\(n, h, w, 1 or 3\)"),
        (FACES[:, :1, :1], NAMES, ArgumentError, "sides of at least 16"),
        (np.zeros((4, 100, 100, 3), np.uint8), NAMES[:4], ArgumentError, "such as 64, 96 or 128"),
        (FACES.astype(np.int64), NAMES, ArgumentError, "uint8 or floats"),
        (FACES.astype(np.float32), NAMES, ArgumentError, "face 0 has others"),
        (np.full((4, 32, 32, 3), np.nan), NAMES[:4], ArgumentError, "NaN"),
        (FACES, NAMES[:-1], ArgumentError, "inconsistent numbers"),
        (FACES[:40], NAMES[:40], ArgumentError, "at least 2 people"),
        (FACES, None, ArgumentError, "requires y"),
    ],
)
def test_bad_faces(x: Any, y: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        quick().fit(x, y)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"share": "all"}, "expected share in"), ({"align": "cycle"}, "expected align in"),
        ({"steps": 0}, "expected steps >= 1"), ({"optimizer": "magic"}, "expected optimizer in"),
        ({"augment": "wild"}, "expected augment in"), ({"augment": {"flip": 2.0}}, r"flip in \[0, 1\]"),
        ({"pretrain": 7}, r"pretrain in \[0, 6\]"), ({"pretrain": 2, "share": "none"}, "goes with share='encoder'"),
        ({"ssim_weight": 1.5}, "ssim_weight in"), ({"exchange": 2.0}, r"exchange in \[0, 1\]"),
        ({"exchange": 0.5, "share": "none"}, "exchange goes with"), ({"shrink": -1.0}, "shrink >= 0"),
        ({"shrink": 1.0, "align": None}, "0 with align=None"), ({"layers": (3,)}, "go with share='rbm'"),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        quick(**options).fit(FACES, NAMES)


def test_bad_use(trained: FaceSwap) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        quick().swap(TEST, "bob")
    with pytest.raises(DeviceError, match="device cuda:99"):
        quick(device="cuda:99").fit(FACES, NAMES)
    with pytest.raises(ArgumentError, match=r"expected a person in .*got 'eve'"):
        trained.swap(TEST, "eve")
    with pytest.raises(ArgumentError, match="strength in"):
        trained.swap(TEST, "bob", strength=1.5)
    with pytest.raises(ShapeError, match=r"expected faces of \(32, 32, 3\)"):
        trained.swap(TEST[:, :16, :16], "bob")
    with pytest.raises(ShapeError, match=r"expected codes \(n, 48\)"):
        trained.inverse_transform(np.zeros((2, 3)), "bob")


def test_conventions_of_scikit_learn() -> None:
    base = pytest.importorskip("sklearn.base")
    model = quick(augment={"flip": 0.5})
    copy = base.clone(model)
    assert copy.get_params() == model.get_params() and not hasattr(copy, "model_")
    assert repr(quick(code=9)).startswith("FaceSwap(code=9") and "width=4" in repr(quick())
