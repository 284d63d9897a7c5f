"""Letters: the 26 capitals of the font inside Pillow, randomly distorted and digitised as the digits were.

The data of the demo must not depend on which FreeType somebody has, so the letters from which its clutter is
cut are shipped (``letters.npy``). ``python -m bench.data.letters`` makes that file anew; rendering is used
otherwise only to pre-train the demo's source model.
"""

import io
import math
import string
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.data.clutter import GLYPH, Levels
from bench.records.files import write_file

if TYPE_CHECKING:
    from PIL.Image import Image

LETTERS = string.ascii_uppercase
BANK = Path(__file__).with_name("letters.npy")
BANK_VARIANTS, BANK_SEED = 32, 0

_SIDE = 4 * GLYPH  # of the bitmap whose 4 x 4 blocks are counted, in pixels
_SHEET, _SIZE = 96, 56  # side of the sheet a letter is drawn on and size of the font, in pixels


def render_letters(labels: npt.NDArray[np.int64], rng: np.random.RandomState) -> Levels:
    """Each letter drawn once: random stroke, rotation, shear and width, cropped and digitised.

    Digitised as scikit-learn's digits were: a 32x32 bitmap, of which each 4x4 block gives one pixel, the
    number of its inked points. Labels are indices in ``LETTERS``; gives (N, 8, 8), levels 0..16.
    """
    return np.stack([_count_blocks(_draw_letter(LETTERS[label], rng)) for label in labels])


def _draw_letter(letter: str, rng: np.random.RandomState) -> "Image":
    """A distorted letter, black and white, cropped to its ink."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_SIZE)
    sheet = Image.new("L", (_SHEET, _SHEET))
    stroke = rng.randint(5, dtype=np.int64)
    ImageDraw.Draw(sheet).text((_SHEET / 2,) * 2, letter, 255, font, "mm", stroke_width=int(stroke))
    angle, shear = rng.uniform(-0.2, 0.2), rng.uniform(-0.3, 0.3)  # rad; columns a row
    across, down = rng.uniform(1.0, 1.6), rng.uniform(1.0, 1.3)  # how much narrower and lower
    cos, sin = math.cos(angle), math.sin(angle)
    a, b, d, e = across * (cos + shear * sin), across * (shear * cos - sin), down * sin, down * cos
    centre = _SHEET / 2
    affine = (a, b, centre * (1 - a - b), d, e, centre * (1 - d - e))
    drawn = sheet.transform(sheet.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    drawn = drawn.point(lambda value: 255 * (value >= 128))
    return drawn.crop(drawn.getbbox())


def _count_blocks(drawn: "Image") -> Levels:
    """(8, 8) levels of a cropped letter, scaled to fill 32x32 points in one direction and centred in the other."""
    from PIL import Image

    scale = _SIDE / max(drawn.size)
    width, height = (max(1, round(side * scale)) for side in drawn.size)
    fitted = drawn.resize((width, height), Image.Resampling.BOX)
    bitmap = Image.new("L", (_SIDE, _SIDE))
    bitmap.paste(fitted, ((_SIDE - width) // 2, (_SIDE - height) // 2))
    blocks = (np.asarray(bitmap, np.uint8) >> 7).reshape(GLYPH, 4, GLYPH, 4)
    levels: Levels = blocks.sum((1, 3), dtype=np.uint8)
    return levels


def read_bank() -> Levels:
    """The shipped letters: (26, ``BANK_VARIANTS``, 8, 8), levels 0..16."""
    bank: Levels = np.load(BANK, allow_pickle=False)
    return bank


def write_bank(path: Path = BANK) -> None:
    """Render the bank anew and put it in place at once, or not at all."""
    labels = np.repeat(np.arange(len(LETTERS), dtype=np.int64), BANK_VARIANTS)
    letters = render_letters(labels, np.random.RandomState(BANK_SEED))
    content = io.BytesIO()
    np.save(content, letters.reshape(len(LETTERS), BANK_VARIANTS, GLYPH, GLYPH), allow_pickle=False)
    write_file(path, content.getvalue())


if __name__ == "__main__":
    write_bank()
