"""The demo's data: fixed for ever, whole, and fairly split."""

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from bench.data import clutter, digits, letters
from bench.data.clutter import Levels
from bench.data.digits import Arrays

SHA256 = {
    ("plain", "train"): "9ddff18f937cdd563ef9067e23a823cf7ee7fb305adbd1aaa0351eb0413ba16f",
    ("plain", "val"): "a6d91698af199355a485da8f086d25988da52c2929d38cf4ad193a736f1517eb",
    ("plain", "test"): "5b1752cbf41c336eae1dd74cc06afa3ccbc4c93dc311b58b193f9e2a3674853d",
    ("cluttered", "train"): "eaa808037d6d8a4525dcd9785cf6cc6dc5df0b11ea119b14cabb086aacc94542",
    ("cluttered", "val"): "98932f10cfd7fb3a5fa9e5ab2f1428be8680cc718cd8ec63487f7ec4c9f7e670",
    ("cluttered", "test"): "b76f18f8f63fbab2f3f0ebae781a0e56287fb321b0481c1420691de39c208541",
}


@pytest.fixture(scope="module")
def data() -> dict[str, dict[str, Arrays]]:
    return {"plain": digits.read_digits(), "cluttered": digits.read_cluttered_digits()}


@pytest.mark.parametrize(("name", "split"), SHA256)
def test_data_are_fixed(data: dict[str, dict[str, Arrays]], name: str, split: str) -> None:
    images, labels = data[name][split]
    side = {"plain": 8, "cluttered": 12}[name]
    assert images.shape == (digits.SPLITS[split], side, side, 1)
    assert labels.shape == (digits.SPLITS[split],)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert set(np.unique(images)) == set(np.rint(np.arange(17) * 255 / 16))
    assert hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest() == SHA256[name, split]


def test_splits_cover_all_digits_once_and_share_out_each_class() -> None:
    _, labels = digits._load_levels()
    rows = digits.split_stratified(labels)
    assert np.array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(1797))
    total = np.bincount(labels)
    for split, size in digits.SPLITS.items():
        assert len(rows[split]) == size
        assert np.abs(np.bincount(labels[rows[split]]) - total * size / 1797).max() <= 1


def test_a_digit_is_in_the_same_split_plain_and_cluttered(data: dict[str, dict[str, Arrays]]) -> None:
    for split in digits.SPLITS:
        (plain, labels), (cluttered, again) = data["plain"][split], data["cluttered"][split]
        assert np.array_equal(labels, again)
        assert _holds_glyph(cluttered[..., 0], plain[..., 0]).any(1).all()


def test_every_place_is_used_and_about_as_often() -> None:
    glyphs = np.full((5000, 8, 8), 16, np.uint8)
    images = clutter.clutter_glyphs(glyphs, np.ones((1, 4, 4), np.uint8), np.random.RandomState(0))
    counts = _holds_glyph(images, glyphs).sum(0)
    assert counts.sum() == 5000  # the glyph, and it alone, is wholly inside
    assert counts.min() > 150
    assert counts.max() < 250


def test_fragments_are_windows_of_letters_with_enough_ink() -> None:
    bank = letters.read_bank()
    fragments = clutter.cut_fragments(bank)
    assert len(fragments) > 10_000
    assert fragments.shape[1:] == (4, 4)
    assert fragments.sum((1, 2)).min() >= clutter.FRAGMENT_INK
    windows = {
        bank[..., r : r + 4, c : c + 4][i].tobytes() for i in np.ndindex(26, 32) for r in range(5) for c in range(5)
    }
    assert {fragment.tobytes() for fragment in fragments} <= windows


def test_at_most_three_fragments_lie_beside_the_glyph() -> None:
    glyphs, fragments = np.full((500, 8, 8), 9, np.uint8), np.full((1, 4, 4), 5, np.uint8)
    images = clutter.clutter_glyphs(glyphs, fragments, np.random.RandomState(0))
    beside = (images == 5).sum((1, 2))
    assert set(np.unique(images)) == {0, 5, 9}
    assert np.array_equal((images == 9).sum((1, 2)), np.full(500, 64))
    assert beside.max() <= 48
    assert beside.mean() > 16  # seen, not hidden


def test_paste_covers_and_leaves_its_input() -> None:
    canvas = np.full((2, 3, 3), 7, np.uint8)
    patches = np.array([[[0, 2], [9, 0]], [[1, 1], [1, 1]]], np.uint8)
    first, second = clutter.paste(canvas, patches, np.array([[1, 0], [0, 1]])).tolist()
    assert first == [[7, 7, 7], [0, 2, 7], [9, 0, 7]]
    assert second == [[7, 1, 1], [7, 1, 1], [7, 7, 7]]
    through = clutter.paste(canvas, patches, np.array([[1, 0], [0, 1]]), transparent=True)
    assert through[0].tolist() == [[7, 7, 7], [7, 2, 7], [9, 7, 7]]
    assert (canvas == 7).all()


def test_bank_is_small_and_whole() -> None:
    bank = letters.read_bank()
    assert bank.shape == (26, letters.BANK_VARIANTS, 8, 8)
    assert bank.dtype == np.uint8
    assert bank.max() == clutter.FULL_INK
    assert letters.BANK.stat().st_size <= 100_000
    assert all(len(np.unique(variants, axis=0)) == letters.BANK_VARIANTS for variants in bank)


def test_bank_can_be_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "BANK_VARIANTS", 2)
    letters.write_bank(tmp_path / "letters.npy")
    made = np.load(tmp_path / "letters.npy", allow_pickle=False)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.npy"]
    assert made.shape == (26, 2, 8, 8)
    assert made.max() == clutter.FULL_INK
    assert ((made[:, :, [0, -1]].sum(-1) > 0).all(-1) | (made[..., [0, -1]].sum(-2) > 0).all(-1)).all()  # fills the box


def test_rendering_is_random_but_repeatable() -> None:
    labels = np.arange(26)
    once, again = (letters.render_letters(labels, np.random.RandomState(3)) for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, letters.render_letters(labels, np.random.RandomState(4)))


def _holds_glyph(images: Levels, glyphs: Levels) -> npt.NDArray[np.bool_]:
    """(N, 25): is the whole glyph, paper included, at each of the 5 x 5 places?"""
    places = [images[:, r : r + 8, c : c + 8] for r in range(5) for c in range(5)]
    return np.stack([(place == glyphs).all((1, 2)) for place in places], 1)
