"""Draws 120 pictures of three shapes: pictures/CLASS/NAME.png, labels.csv with a split for each, and a few in new/."""

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ("disc", "frame", "triangle")
draw = random.Random(0)


def picture(shape):
    """A shape somewhere in a noisy square of 24 pixels."""
    image = Image.frombytes("L", (24, 24), bytes(draw.randrange(140) for _ in range(24 * 24)))
    left, top, side = draw.randrange(2, 8), draw.randrange(2, 8), draw.randrange(9, 14)
    box = (left, top, left + side, top + side)
    pen, shade = ImageDraw.Draw(image), draw.randrange(100, 200)
    if shape == "disc":
        pen.ellipse(box, fill=shade)
    elif shape == "frame":
        pen.rectangle(box, outline=shade, width=3)
    else:
        pen.polygon([(left, top + side), (left + side, top + side), (left + side // 2, top)], fill=shade)
    return image


rows = []
for shape in CLASSES:
    folder = Path("pictures", shape)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(40):
        path = folder / f"{number:02}.png"
        picture(shape).save(path)
        rows.append((path.as_posix(), shape, "test" if number < 10 else "train"))

Path("new").mkdir(exist_ok=True)
for number in range(4):
    picture(CLASSES[number % 3]).save(f"new/{number}.png")
with open("labels.csv", "w", newline="") as table:
    csv.writer(table).writerows([("path", "label", "split"), *rows])
print(f"{len(rows)} pictures of {len(CLASSES)} shapes, labels.csv, and 4 new pictures")
