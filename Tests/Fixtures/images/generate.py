#!/usr/bin/env python3
"""Writes pictures of each kind, their pixels as Pillow reads them, and models that take pictures.

Needs the Python packages numpy, onnx and Pillow. red.jpg, edge420.jpg, portrait.jpg and progressive.jpg came from users.
"""

import io
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "Scripts"))

import picture_files as files  # noqa: E402

RANDOM = np.random.default_rng(4)
Y, X = np.mgrid[0:19, 0:23]
RGB = np.stack([X * 11, Y * 13, (X + Y) * 6], -1).astype(np.uint8)
# An edge of colours, which interpolation blurs.
RGB[5:12, 9:] = [250, 20, 60]
INKS = np.dstack([RGB, 40 + X * 8])


def pillow(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def planes(array):
    return np.moveaxis(array, -1, 0)


def pictures():
    """Names and bytes; for numbers of 16 bits also what they are."""
    image = Image.fromarray(RGB)
    luma = planes(np.asarray(image.convert("YCbCr")))
    yield "rgb.png", pillow(image, format="PNG")
    yield "rgba.png", pillow(Image.fromarray(np.dstack([RGB, np.full((19, 23), 200, np.uint8)])), format="PNG")
    yield "grey.png", pillow(image.convert("L"), format="PNG")
    yield "bits.png", pillow(image.convert("1"), format="PNG")
    yield "palette.png", pillow(image.quantize(13), format="PNG")
    deep = RANDOM.integers(0, 65536, (9, 11, 4))
    yield "deep.png", files.write_png(deep[..., :3], 2, 16), deep[..., :3]
    yield "deep-grey.png", files.write_png(deep[..., :1], 0, 16), np.repeat(deep[..., :1], 3, -1)
    yield "deep-alpha.png", files.write_png(deep, 6, 16, interlaced=True), deep[..., :3]
    yield "interlaced.png", files.write_png(RGB, 2, 8, interlaced=True)
    palette = RANDOM.integers(0, 256, (4, 3))
    yield "interlaced-bits.png", files.write_png(RANDOM.integers(0, 4, (9, 5, 1)), 3, 2, palette, interlaced=True)
    yield "transparent.png", files.write_png(X[..., None] // 2, 0, 4, between=files.chunk(b"tRNS", b"\0\3"))
    yield "chunks.png", files.write_png(
        RGB, 2, 8, before=files.chunk(b"gAMA", b"\0\0\xb1\x8f") + files.chunk(b"abCd", b"x"), split=100, empty_data=True)
    yield "exif-7.png", files.write_png(RGB, 2, 8, between=files.chunk(b"eXIf", files.exif(7, ">")))

    yield "sharp.jpg", pillow(image, format="JPEG", quality=95, subsampling=0)
    yield "grey.jpg", pillow(image.convert("L"), format="JPEG", quality=90)
    yield "chroma.jpg", pillow(image, format="JPEG", quality=90, subsampling=2)
    # Colours that no marker, or Adobe's marker, makes RGB.
    yield "named-rgb.jpg", files.write_jpeg(planes(RGB), [(1, 1)] * 3, markers=b"", names=b"RGB", progressive=True)
    yield "adobe-rgb.jpg", files.write_jpeg(
        planes(RGB), [(2, 1), (1, 1), (1, 1)], markers=files.adobe(0), interleaved=False)
    yield "jfif-rgb.jpg", files.write_jpeg(luma, [(1, 1)] * 3, markers=files.JFIF + files.adobe(0), names=b"RGB")
    # Chroma of fewer columns, rows or both.
    yield "422.jpg", pillow(image, format="JPEG", quality=90, subsampling=1)
    yield "440.jpg", files.write_jpeg(luma, [(1, 2), (1, 1), (1, 1)], restart=1)
    yield "411.jpg", files.write_jpeg(luma, [(4, 1), (1, 1), (1, 1)], progressive=True)
    yield "420-progressive.jpg", pillow(
        image.crop((0, 0, 17, 15)), format="JPEG", quality=60, subsampling=2, progressive=True, restart_marker_blocks=3)
    yield "420-narrow.jpg", pillow(image.crop((8, 0, 12, 19)), format="JPEG", quality=90, subsampling=2)
    # Inks.
    yield "cmyk.jpg", pillow(Image.fromarray(INKS.astype(np.uint8), "CMYK"), format="JPEG", quality=90, subsampling=0)
    yield "cmyk-progressive.jpg", pillow(
        Image.fromarray(INKS.astype(np.uint8), "CMYK"), format="JPEG", quality=70, subsampling=2, progressive=True)
    yield "ycck.jpg", files.write_jpeg(planes(INKS), [(2, 2), (1, 1), (1, 1), (2, 2)], markers=files.adobe(2))
    yield "inks-unmarked.jpg", files.write_jpeg(planes(INKS), [(1, 1)] * 4, markers=b"")
    for orientation in range(1, 9):
        yield f"exif-{orientation}.jpg", pillow(
            image.crop((0, 0, 16, 8)), format="JPEG", subsampling=0,
            exif=b"Exif\0\0" + files.exif(orientation, "<>"[orientation % 2]))

    yield "rgb.bmp", pillow(image, format="BMP")
    yield "bits.bmp", pillow(image.convert("1"), format="BMP")
    colours = RANDOM.integers(0, 256, (16, 3))
    indices = np.repeat(RANDOM.integers(0, 16, (5, 6)), 3, 1)[:, :17]
    yield "os2.bmp", files.write_bmp(files.packed_rows(indices[..., None], 4), 4, 17, colours, header=12)
    words = RANDOM.integers(0, 2**16, (5, 7)).astype("<u2")
    yield "565.bmp", files.write_bmp(
        [r.tobytes() for r in words], 16, 7, compression=3, masks=(0xF800, 0x7E0, 0x1F), top_down=True)
    yield "runs-8.bmp", files.write_bmp((5, files.run_lengths(indices)), 8, 17, colours, compression=1)
    yield "runs-4.bmp", files.write_bmp((5, files.run_lengths(indices, half=True)), 4, 17, colours, compression=2)

    bits = RANDOM.integers(0, 2, (4, 11))
    yield "plain.pbm", b"P1 # bits\n11 4\n" + b"\n".join(b"".join(b"%d" % v for v in row) for row in bits.tolist())
    yield "raw.pbm", b"P4\n11 4\n" + np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    yield "plain.pgm", b"P2\n3 2\n7\n0 1 2\n#\n3 4 7\n"
    yield "raw.ppm", b"P6 23 19 255\n" + RGB.tobytes()
    wide = deep[:3, :5, :3] % 1001
    levels = np.array([[[round(v / 1000 * 65535) for v in p] for p in r] for r in wide.tolist()])
    yield "deep.ppm", b"P6\n5 3\n1000\n" + wide.astype(">u2").tobytes(), levels
    yield "deep.pgm", b"P5 5 3 65535 " + deep[:3, :5, 0].astype(">u2").tobytes(), np.repeat(deep[:3, :5, :1], 3, -1)


def read(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def resized():
    """Pictures made of rgb.png, by name: the method and what it is given."""
    image = Image.fromarray(RGB)
    for width, height in [(10, 8), (40, 31), (7, 50), (23, 5), (60, 19), (1, 1)]:
        yield f"resized {width} {height}", image.resize((width, height), Image.BILINEAR)
    # torchvision's Resize of the shorter side and CenterCrop.
    yield "shorter 12", image.resize((int(12 * 23 / 19), 12), Image.BILINEAR)
    yield "cropped 12 6", image.crop((round(11 / 2), round(13 / 2), round(11 / 2) + 12, round(13 / 2) + 6))
    ratio = 16 / 19
    cover = image.resize((round(23 * ratio), 16), Image.BILINEAR)
    left = round((cover.width - 16) / 2)
    yield "filling 16 16", cover.crop((left, 0, left + 16, 16))
    inner = image.resize((30, round(19 * 30 / 23)), Image.BILINEAR)
    framed = Image.new("RGB", (30, 32), (114, 114, 114))
    framed.paste(inner, (0, (32 - inner.height) // 2))
    yield "letterboxed 30 32", framed


def model(name, dtype, shape, nodes=None, initializers=(), out=None):
    nodes = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    ports = [helper.make_tensor_value_info("x", dtype, shape), helper.make_tensor_value_info("y", dtype, out or shape)]
    graph = helper.make_graph(nodes, "pictures", ports[:1], ports[1:], list(initializers))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), HERE / name)


def main():
    pixels = {}
    for name, data, *deep in pictures():
        (HERE / name).write_bytes(data)
        pixels[name] = deep[0].astype(np.uint16) if deep else read(data)
    for name in ["red.jpg", "edge420.jpg", "portrait.jpg", "progressive.jpg"]:
        pixels[name] = read((HERE / name).read_bytes())
    np.savez_compressed(HERE / "pixels.npz", **pixels)
    grey = Image.open(HERE / "chroma.jpg").convert("L")
    np.save(HERE / "grey.npy", np.asarray(grey))
    np.savez_compressed(HERE / "resized.npz", **{name: np.asarray(image) for name, image in resized()})

    model("float.onnx", TensorProto.FLOAT, ["n", 3, "h", "w"])
    model("half-8.onnx", TensorProto.FLOAT16, [1, 3, 8, 8])
    model("bytes-last.onnx", TensorProto.UINT8, [1, "h", "w", 3])
    model("grey.onnx", TensorProto.FLOAT, ["n", 1, "h", "w"])
    model("unclear.onnx", TensorProto.FLOAT, ["n", "a", "b", "c"])
    model("four.onnx", TensorProto.FLOAT, ["n", 4, "h", "w"])
    for name, format in [("decoder", "RGB"), ("decoder-bgr", "BGR"), ("decoder-grey", "Grayscale")]:
        model(
            f"{name}.onnx", TensorProto.UINT8, ["n"], [helper.make_node("ImageDecoder", ["x"], ["y"], pixel_format=format)],
            out=["h", "w", "c"])
    # 2048 channels take 8 KiB a pixel: with a picture of 86 Kpixels more than 640 MiB.
    one = helper.make_tensor("one", TensorProto.FLOAT, [1, 1, 1, 1], [1])
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [2048, 3, 1, 1])
    model(
        "wide.onnx", TensorProto.FLOAT, ["n", 3, "h", "w"],
        [helper.make_node("Expand", ["one", "shape"], ["w"]), helper.make_node("Conv", ["x", "w"], ["y"])], [one, shape],
        ["n", 2048, "h", "w"])
    (HERE / "plain-293.png").write_bytes(files.write_png(np.zeros((293, 293, 1), int), 0, 1, level=9))


if __name__ == "__main__":
    main()
