#!/usr/bin/env python3
"""Writes PNG and JPEG files and their pixels. Needs the Python packages numpy and Pillow."""

import pathlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent


def main():
    y, x = np.mgrid[0:19, 0:23]
    rgb = np.stack([x * 11, y * 13, (x + y) * 6], -1).astype(np.uint8)
    pixels = {}

    def save(name, image, **options):
        image.save(HERE / name, **options)
        opened = Image.open(HERE / name)
        if opened.mode.startswith("I"):
            pixels[name] = np.repeat((np.asarray(opened).astype(np.int64) >> 8)[..., None], 3, -1).astype(np.uint8)
        else:
            pixels[name] = np.asarray(opened.convert("RGBA").convert("RGB") if "A" in opened.mode else opened.convert("RGB"))

    image = Image.fromarray(rgb)
    save("rgb.png", image)
    save("rgba.png", Image.fromarray(np.dstack([rgb, np.full((19, 23), 200, np.uint8)])))
    save("grey.png", image.convert("L"))
    save("bits.png", image.convert("1"))
    save("palette.png", image.quantize(13))
    save("deep.png", Image.fromarray((x * 2800 + y).astype(np.uint16)))
    save("sharp.jpg", image, quality=95, subsampling=0)
    save("grey.jpg", image.convert("L"), quality=90)
    save("chroma.jpg", image, quality=90, subsampling=2)
    np.savez_compressed(HERE / "pixels.npz", **pixels)


if __name__ == "__main__":
    main()
