#!/usr/bin/env python3
"""Compares the pictures that toeplitz reads with those that Pillow reads, kind by kind.

    Scripts/picture-kinds.py --tool .build/debug/toeplitz [--keep FOLDER]

Makes some 200 JPEG files (all samplings, sequential and progressive, restart intervals, colour spaces, odd sizes, EXIF
orientations) and the kinds of PNG, BMP and PNM files, runs one model that hands all of a kind on, and prints how many are
equal. JPEG has to be within 1 of 255, all else exact. Needs the Python packages numpy, onnx and Pillow.
"""

import argparse
import io
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import onnx
from PIL import Image, ImageOps
from onnx import TensorProto, helper

import picture_files as files

RANDOM = np.random.default_rng(22)
SIZES = [(1, 1), (2, 3), (7, 5), (8, 8), (9, 17), (16, 16), (17, 31), (31, 33), (40, 24), (33, 50), (64, 3), (3, 64)]


def scene(width, height, channels=3):
    """A picture with slopes, edges and noise, in levels from 0 to 255."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(x / (5 + c) + y / (9 - c) + c) for c in range(channels)]
    picture = np.stack(planes, -1) + RANDOM.normal(0, 6, (height, width, channels))
    picture[(x > width // 2) & (y > height // 3)] = RANDOM.integers(0, 256, channels)
    return np.clip(picture, 0, 255).astype(np.uint8)


def saved(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


def jpegs():
    """Names and bytes of JPEG files."""
    for number, (width, height) in enumerate(SIZES):
        rgb = Image.fromarray(scene(width, height))
        for subsampling in [0, 1, 2]:
            for progressive in [False, True]:
                yield f"pillow-{subsampling}{'-progressive' * progressive}-{width}x{height}", saved(
                    rgb, format="JPEG", quality=[95, 75, 40, 10][(number + subsampling) % 4], subsampling=subsampling,
                    progressive=progressive, restart_marker_blocks=number % 3, optimize=number % 2 == 1)
        yield f"grey-{width}x{height}", saved(rgb.convert("L"), format="JPEG", quality=85, progressive=number % 2 == 1)
        cmyk = Image.fromarray(scene(width, height, 4), "CMYK")
        yield f"cmyk-{width}x{height}", saved(
            cmyk, format="JPEG", quality=85, subsampling=number % 3, progressive=number % 2 == 0)
    samplings = {
        "444": [(1, 1)] * 3, "422": [(2, 1), (1, 1), (1, 1)], "420": [(2, 2), (1, 1), (1, 1)],
        "440": [(1, 2), (1, 1), (1, 1)], "411": [(4, 1), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)],
        "441": [(1, 4), (1, 1), (1, 1)], "mixed": [(2, 2), (2, 1), (1, 2)], "odd": [(2, 2), (1, 2), (2, 1)],
        "luma": [(1, 1), (2, 2), (2, 2)],
    }
    for number, (name, factors) in enumerate(samplings.items()):
        for index, (width, height) in enumerate(SIZES[3:9]):
            planes = np.moveaxis(np.asarray(Image.fromarray(scene(width, height)).convert("YCbCr")), -1, 0)
            yield f"{name}-{width}x{height}", files.write_jpeg(
                planes, factors, progressive=index % 2 == 1, interleaved=index % 3 != 2,
                restart=[0, 1, 3, 0, 2][(index + number) % 5], padding=bytes(index % 2))
    planes = np.moveaxis(scene(29, 23, 4), -1, 0)
    for name, options in {
        "adobe-rgb": dict(markers=files.adobe(0)), "adobe-ycc": dict(markers=files.adobe(1)),
        "adobe-other": dict(markers=files.adobe(7)), "jfif-and-adobe-rgb": dict(markers=files.JFIF + files.adobe(0)),
        "named-rgb": dict(markers=b"", names=b"RGB"), "named-other": dict(markers=b"", names=b"rgb"),
        "unmarked": dict(markers=b""), "named-rgb-progressive": dict(markers=b"", names=b"RGB", progressive=True),
        "named-rgb-jfif": dict(names=b"RGB"), "adobe-rgb-422": dict(markers=files.adobe(0), factors=[(2, 1), (1, 1), (1, 1)]),
    }.items():
        yield name, files.write_jpeg(planes[:3], **{"factors": [(1, 1)] * 3, **options})
    for transform in [None, 0, 2]:
        for name, factors in {"444": [(1, 1)] * 4, "420": [(2, 2), (1, 1), (1, 1), (2, 2)]}.items():
            for progressive in [False, True]:
                yield f"inks-{transform}-{name}{'-progressive' * progressive}", files.write_jpeg(
                    planes, factors, markers=b"" if transform is None else files.adobe(transform), progressive=progressive)
    picture = Image.fromarray(scene(24, 15))
    for orientation in range(1, 9):
        yield f"exif-{orientation}", saved(picture, format="JPEG", exif=b"Exif\0\0" + files.exif(orientation, "<>"[orientation % 2]))
    yield "exif-0", saved(picture, format="JPEG", exif=b"Exif\0\0" + files.exif(0))
    yield "exif-9", saved(picture, format="JPEG", exif=b"Exif\0\0" + files.exif(9))
    yield "exif-long", saved(picture, format="JPEG", exif=b"Exif\0\0" + files.exif(6, type=4))
    for width, height in [(1, 40), (40, 1), (2, 40), (40, 2), (3, 3), (5, 4), (4, 5), (15, 16), (16, 15), (255, 129), (100, 75), (6, 6)]:
        yield f"narrow-{width}x{height}", saved(Image.fromarray(scene(width, height)), format="JPEG", subsampling=2)


def pngs():
    """Names, bytes and, for 16 bits, the samples of PNG files."""
    legal = {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}
    palette = RANDOM.integers(0, 256, (256, 3))

    def numbers(width, height, colour, depth):
        most = 2**depth
        y, x = np.mgrid[0:height, 0:width]
        n = files.CHANNELS[colour]
        slope = ((x[..., None] * (3 + np.arange(n)) + y[..., None] * 5) * most // 97) % most
        return np.where(RANDOM.random((height, width, n)) < 0.3, RANDOM.integers(0, most, (height, width, n)), slope)

    def entry(name, width, height, colour, depth, **options):
        n = numbers(width, height, colour, depth)
        deep = None
        if depth == 16:
            deep = np.repeat(n[..., :1], 3, -1) if colour in (0, 4) else n[..., :3]
        if colour == 3:
            options["palette"] = palette[: options.pop("colours", 2**depth)]
            n %= len(options["palette"])
        return name, files.write_png(n, colour, depth, **options), deep

    for colour, depths in legal.items():
        for depth in depths:
            for interlaced in [False, True]:
                yield entry(f"basic-{colour}-{depth}-{interlaced}", 32, 32, colour, depth, interlaced=interlaced)
                yield entry(f"odd-{colour}-{depth}-{interlaced}", 13, 11, colour, depth, interlaced=interlaced)
    for size in [*range(1, 10), *range(32, 41)]:
        for interlaced in [False, True]:
            yield entry(f"size-{size}-{interlaced}", size, size, 3, 4 if size > 3 else 1, interlaced=interlaced)
    for kind in range(5):
        yield entry(f"filter-{kind}-grey", 32, 32, 0, 8, choose=lambda row: kind)
        yield entry(f"filter-{kind}-rgb", 32, 32, 2, 8, choose=lambda row: kind)
    for gamma in [35000, 45455, 100000, 250000]:
        for colour, depth in [(0, 16), (2, 8), (3, 4)]:
            yield entry(f"gamma-{gamma}-{colour}", 32, 32, colour, depth, before=files.chunk(b"gAMA", struct.pack(">I", gamma)))
    for colour, depth, body in [(0, 1, b"\0\1"), (0, 4, b"\0\3"), (0, 16, b"\1\2"), (2, 8, b"\0\1\0\2\0\3"),
                                (2, 16, b"\1\1\2\2\3\3"), (3, 2, b"\0\x80"), (3, 8, bytes(range(200)))]:
        yield entry(f"transparent-{colour}-{depth}", 32, 32, colour, depth, between=files.chunk(b"tRNS", body))
    for split in [1, 7, 100]:
        yield entry(f"data-by-{split}", 32, 32, 2, 8, split=split)
    yield entry("data-empty", 32, 32, 0, 8, split=50, empty_data=True)
    for level in [0, 3, 9]:
        yield entry(f"level-{level}", 32, 32, 2, 8, level=level)
    for colour, depth in [(2, 8), (3, 2), (0, 1), (6, 16)]:
        yield entry(f"wide-{colour}-{depth}", 3001, 2, colour, depth, interlaced=colour == 0)
    for colours in [1, 5, 200]:
        yield entry(f"colours-{colours}", 32, 32, 3, 8, colours=colours)
    others = {
        "bKGD": b"\0\1\0\1\0\1", "pHYs": struct.pack(">IIB", 1, 4, 0), "sBIT": b"\5\6\5", "tEXt": b"Title\0x",
        "zTXt": b"Title\0\0" + zlib.compress(b"x" * 100), "tIME": bytes([7, 208, 1, 1, 0, 0, 0]), "cHRM": bytes(32),
        "iTXt": b"Title\0\0\0de\0Titel\0x", "sPLT": b"six\0\x08" + bytes(6), "abCd": b"anything",
    }
    for name, body in others.items():
        yield entry(f"chunk-{name}", 20, 9, 2, 8, before=files.chunk(name.encode(), body))
    for orientation in range(1, 9):
        yield entry(f"exif-{orientation}", 11, 7, 2, 8, between=files.chunk(b"eXIf", files.exif(orientation, ">")))
    for orientation in (3, 6):
        yield entry(f"exif-deep-{orientation}", 11, 7, 2, 8, interlaced=True, before=files.chunk(b"eXIf", files.exif(orientation)))


def bad_pngs():
    good = files.write_png(RANDOM.integers(0, 256, (32, 32, 1)), 0, 8)
    header = good[8:33]
    yield "signature-1", b"\x88" + good[1:]
    yield "signature-2", good[:1] + b"png" + good[4:]
    yield "signature-3", good[:4] + b"\n\n" + good[6:]
    yield "signature-8", good[:7] + b"\r" + good[8:]
    yield "carriage-returns", good.replace(b"\n", b"\r\n")
    yield "line-feeds", good.replace(b"\r\n", b"\n")

    def with_header(**changes):
        fields = dict(zip("whdcmfi", struct.unpack(">IIBBBBB", header[8:21]))) | changes
        return good[:8] + files.chunk(b"IHDR", struct.pack(">IIBBBBB", *fields.values())) + good[33:]

    for name, changes in {
        "no-pixels": dict(w=0, h=0), "colour-1": dict(c=1), "colour-9": dict(c=9), "depth-0": dict(d=0), "depth-3": dict(d=3),
        "depth-99": dict(d=99), "rgb-depth-4": dict(c=2, d=4), "method-1": dict(m=1), "filter-method-1": dict(f=1),
        "interlace-2": dict(i=2), "too-wide": dict(w=2**31 - 1), "more-rows": dict(h=64), "fewer-rows": dict(h=8),
    }.items():
        yield name, with_header(**changes)
    yield "header-checksum", good[:32] + bytes([good[32] ^ 1]) + good[33:]
    start = good.index(b"IDAT")
    length = struct.unpack(">I", good[start - 4 : start])[0]
    body = good[start + 4 : start + 4 + length]
    yield "data-checksum", good[: start - 4] + files.chunk(b"IDAT", body, damage=1) + files.chunk(b"IEND", b"")
    yield "no-data", good[:33] + files.chunk(b"IEND", b"")
    yield "short-data", good[: start - 4] + files.chunk(b"IDAT", body[:-9]) + files.chunk(b"IEND", b"")
    yield "no-end", good[:-12]
    yield "filter-5", good[:33] + files.chunk(b"IDAT", zlib.compress((b"\5" + bytes(32)) * 32)) + files.chunk(b"IEND", b"")
    yield "no-palette", good[:8] + files.chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 3, 0, 0, 0)) + good[33:]
    yield "unknown-critical", good[:33] + files.chunk(b"CgBI", b"\0\0\0\0") + good[33:]
    yield "two-headers", good[:33] + header + good[33:]


def bmps():
    rgb = scene(21, 13)
    image = Image.fromarray(rgb)
    for mode in ["1", "L", "P", "RGB", "RGBA"]:
        converted = image.quantize(200) if mode == "P" else image.convert(mode)
        yield f"pillow-{mode}", saved(converted, format="BMP")
    palette = RANDOM.integers(0, 256, (256, 3))
    indices = np.repeat(RANDOM.integers(0, 256, (9, 12)), 3, 1)[:, :35]
    for bits in [1, 4, 8]:
        numbers = indices % 2**bits
        for header in [12, 40, 108, 124]:
            yield f"palette-{bits}-{header}", files.write_bmp(
                files.packed_rows(numbers[..., None], bits), bits, 35, palette[: 2**bits], header=header)
        yield f"palette-{bits}-top", files.write_bmp(
            files.packed_rows(numbers[..., None], bits), bits, 35, palette[: 2**bits], top_down=True)
    yield "palette-few", files.write_bmp(files.packed_rows(indices[..., None] % 7, 8), 8, 35, palette[:7])
    words = RANDOM.integers(0, 2**16, (9, 35)).astype("<u2")
    longs = RANDOM.integers(0, 2**32, (9, 35)).astype("<u4")
    rows = [row.tobytes() for row in words]
    yield "16", files.write_bmp(rows, 16, 35)
    for name, masks in {"565": (0xF800, 0x7E0, 0x1F), "555": (0x7C00, 0x3E0, 0x1F)}.items():
        yield f"16-{name}", files.write_bmp(rows, 16, 35, compression=3, masks=masks)
        yield f"16-{name}-56", files.write_bmp(rows, 16, 35, compression=3, masks=masks, header=56)
    rows = [row.tobytes() for row in longs]
    yield "32", files.write_bmp(rows, 32, 35)
    for masks in [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF000000, 0xFF0000, 0xFF00, 0), (0xFF, 0xFF00, 0xFF0000, 0xFF000000)]:
        yield f"32-{masks[0]:x}-{masks[3]:x}", files.write_bmp(rows, 32, 35, compression=3, masks=masks, header=124)
    yield "24-top", files.write_bmp([row.tobytes() for row in rgb[..., ::-1].reshape(13, -1)], 24, 21, top_down=True)
    yield "runs-8", files.write_bmp((9, files.run_lengths(indices)), 8, 35, palette, compression=1)
    yield "runs-4", files.write_bmp((9, files.run_lengths(indices % 16, half=True)), 4, 35, palette[:16], compression=2)
    skips = b"\5\1" + b"\0\2\3\1" + b"\4\2\0\0" + b"\7\3\0\0" * 7 + b"\0\1"
    yield "runs-skips", files.write_bmp((9, skips), 8, 35, palette, compression=1)


def pnms():
    """Names, bytes and, for colours of 16 bits, the samples of PNM files."""
    bits = RANDOM.integers(0, 2, (7, 19))
    plain = b"\n".join(b" ".join(b"%d" % v for v in row) for row in bits.tolist())
    yield "P1", b"P1\n# bits\n19 7\n" + plain + b"\n", None
    yield "P1-close", b"P1 19 7 " + plain.replace(b" ", b"") + b"\n", None
    yield "P4", b"P4\n19 7\n" + np.packbits(bits.astype(np.uint8), axis=1).tobytes(), None
    for most in [1, 2, 15, 100, 255, 256, 1000, 4095, 65535]:
        for channels in [1, 3]:
            samples = RANDOM.integers(0, most + 1, (7, 19, channels))
            deep = None
            if most > 255:
                deep = np.repeat(np.array([[[round(v / most * 65535) for v in p] for p in r] for r in samples.tolist()]), 3 // channels, -1)
            text = b"\n".join(b" ".join(b"%d" % v for v in row.ravel()) for row in samples)
            yield f"P{3 if channels == 3 else 2}-{most}", b"P%d\n19 7 # size\n#more\n%d\n" % (3 if channels == 3 else 2, most) + text, deep
            raw = samples.astype(">u2" if most > 255 else np.uint8).tobytes()
            yield f"P{6 if channels == 3 else 5}-{most}", b"P%d 19 7\n%d\n" % (6 if channels == 3 else 5, most) + raw, deep
    yield "P5-two", b"P5 2 2 255\n" + bytes(4) + b"P5 1 1 255\n\0", None


def refused_jpegs():
    good = saved(Image.fromarray(scene(20, 20)), format="JPEG")
    at = good.index(b"\xff\xc0")

    def frame(marker, precision=8):
        return good[: at + 1] + bytes([marker]) + good[at + 2 : at + 4] + bytes([precision]) + good[at + 5 :]

    yield "lossless", frame(0xC3), "lossless"
    yield "arithmetic", frame(0xC9), "arithmetic"
    yield "arithmetic-progressive", frame(0xCA), "arithmetic"
    yield "lossless-arithmetic", frame(0xCB), "lossless"
    yield "hierarchical", frame(0xC5), "hierarchical"
    yield "12-bit", frame(0xC1, 12), "12 bits"
    yield "truncated", good[: len(good) // 2], "to the end"
    yield "cut-progressive", saved(Image.fromarray(scene(20, 20)), format="JPEG", progressive=True)[:-20], ""


def read(data):
    """The colours as Pillow reads them, upright, in 8 bits."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):
        return np.repeat((np.asarray(image).astype(np.int64) >> 8)[..., None], 3, -1)
    return np.asarray(image.convert("RGB")).astype(np.int64)


class Tool:
    def __init__(self, path, folder):
        self.path, self.folder = pathlib.Path(path).resolve(), folder

    def run(self, model, inputs, *options):
        arguments = [self.path, "run", model] + [a for i in inputs for a in ("--input", i)] + list(options)
        return subprocess.run(arguments, capture_output=True, text=True, cwd=self.folder)

    def read(self, kind, entries):
        """What the tool makes of files: all in one run of a model that hands its inputs on."""
        dtypes = {False: TensorProto.UINT8, True: TensorProto.FLOAT}
        nodes, ins, outs, arguments = [], [], [], []
        for number, (name, data, deep) in enumerate(entries):
            # The name says nothing of the kind.
            (self.folder / f"{kind}-{name}.bin").write_bytes(data)
            dtype = dtypes[deep is not None]
            ins.append(helper.make_tensor_value_info(f"x{number}", dtype, [1, 3, f"h{number}", f"w{number}"]))
            outs.append(helper.make_tensor_value_info(f"y{number}", dtype, [1, 3, f"h{number}", f"w{number}"]))
            nodes.append(helper.make_node("Identity", [f"x{number}"], [f"y{number}"]))
            arguments.append(f"x{number}={kind}-{name}.bin")
        model = helper.make_model(helper.make_graph(nodes, "identity", ins, outs), opset_imports=[helper.make_opsetid("", 13)])
        onnx.save(model, self.folder / f"{kind}.onnx")
        result = self.run(f"{kind}.onnx", arguments, "--output-dir", f"{kind}-out", "--time-limit", "600")
        if result.returncode:
            sys.exit(f"{kind}: {result.stderr}")
        return [np.load(self.folder / f"{kind}-out" / f"y{n}.npy")[0].transpose(1, 2, 0) for n in range(len(entries))]


def compare(tool, kind, entries, tolerance):
    """Prints how many files are equal; true if all are within the tolerance."""
    entries = [(*entry, None)[:3] for entry in entries]
    wrong, exact, worst = [], 0, 0
    for (name, data, deep), got in zip(entries, tool.read(kind, entries)):
        want = read(data) if deep is None else deep
        got = got.astype(np.int64) if deep is None else np.rint(got.astype(np.float64) * 65535).astype(np.int64)
        difference = abs(got - want).max() if got.shape == want.shape else 10**6
        exact += difference == 0
        worst = max(worst, difference)
        if difference > tolerance:
            wrong.append(f"{name}: {got.shape} for {want.shape}, off by {difference}")
    print(f"{kind}: {len(entries)} files, {exact} exact, {len(entries) - len(wrong)} within {tolerance}, largest difference {worst}")
    for line in wrong:
        print("  " + line)
    return not wrong


def refuse(tool, kind, entries):
    """Prints how many files are refused with one line that has the given word; true if all are."""
    wrong, count = [], 0
    for name, data, *words in entries:
        (tool.folder / f"{name}.bin").write_bytes(data)
        result = tool.run("one.onnx", [f"x={name}.bin"])
        count += 1
        lines = result.stderr.strip().splitlines()
        if result.returncode != 1 or len(lines) != 1 or not lines[0].startswith("error: ") or any(w not in lines[0] for w in words):
            wrong.append(f"{name}: {result.returncode}, {result.stderr.strip()}")
    print(f"{kind}: {count} files, {count - len(wrong)} refused")
    for line in wrong:
        print("  " + line)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", required=True, help="the toeplitz executable")
    parser.add_argument("--keep", help="a folder for the files (default: one that is removed)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.keep or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        tool = Tool(arguments.tool, folder)
        port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in "xy"]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", port[:1], port[1:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), folder / "one.onnx")
        results = [
            compare(tool, "JPEG", list(jpegs()), 1), compare(tool, "PNG", list(pngs()), 0),
            compare(tool, "BMP", list(bmps()), 0), compare(tool, "PNM", list(pnms()), 0),
            refuse(tool, "JPEG that is not read", refused_jpegs()), refuse(tool, "damaged PNG", bad_pngs()),
        ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
