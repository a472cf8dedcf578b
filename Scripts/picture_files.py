"""Writes picture files of kinds that Pillow does not write. Needs the Python package numpy."""

import struct
import zlib

import numpy as np

# --- JPEG (ITU-T T.81) ---

ORDER = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47,
    55, 62, 63,
]
# Codes of one length each: nothing here is about compression.
DC_SYMBOLS = list(range(12))
AC_SYMBOLS = [0x00, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def adobe(transform):
    """The marker of Adobe that says what the components mean."""
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


JFIF = segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, 0, 1, 1, 0, 0))


def exif(orientation, order="<", type=3):
    """The EXIF data of a picture with nothing but an orientation."""
    field = struct.pack(order + ("HH" if type == 3 else "I"), *((orientation, 0) if type == 3 else (orientation,)))
    return {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HIHHHI", 42, 8, 1, 0x0112, type, 1) + field + bytes(4)


class Bits:
    def __init__(self):
        self.value = ""

    def put(self, value, size):
        if size:
            self.value += format(value, f"0{size}b")

    def number(self, value):
        size = int(abs(value)).bit_length()
        return size, (value if value >= 0 else value + (1 << size) - 1)

    def bytes(self):
        text = self.value + "1" * (-len(self.value) % 8)
        data = int(text, 2).to_bytes(len(text) // 8, "big") if text else b""
        return data.replace(b"\xff", b"\xff\0")


def write_jpeg(
    planes, factors, quantizer=3, markers=JFIF, names=(1, 2, 3, 4), progressive=False, interleaved=True, restart=0,
    padding=b"",
):
    """A JPEG of planes of one size with sampling factors (across, down) for each, as bytes."""
    height, width = planes[0].shape
    most = [max(f[0] for f in factors), max(f[1] for f in factors)]
    units = [-(-width // (8 * most[0])), -(-height // (8 * most[1]))]
    n = np.arange(8)
    basis = np.cos((2 * n[None] + 1) * n[:, None] * np.pi / 16) * np.where(n == 0, 0.125**0.5, 0.5)[:, None]
    blocks, sizes = [], []
    for plane, (across, down) in zip(planes, factors):
        h, v = most[0] // across, most[1] // down
        full = np.pad(plane.astype(float), ((0, -height % v), (0, -width % h)), mode="edge")
        small = full.reshape(full.shape[0] // v, v, full.shape[1] // h, h).mean((1, 3))
        sizes.append((-(-small.shape[1] // 8), -(-small.shape[0] // 8)))
        rows, columns = units[1] * down * 8, units[0] * across * 8
        small = np.pad(small, ((0, rows - small.shape[0]), (0, columns - small.shape[1])), mode="edge")
        tiles = (small - 128).reshape(rows // 8, 8, columns // 8, 8).transpose(0, 2, 1, 3)
        coefficients = np.rint(basis @ tiles @ basis.T / quantizer).astype(int)
        blocks.append(coefficients.reshape(rows // 8, columns // 8, 64)[..., ORDER])

    def scan(parts, band):
        """One scan of some components: all their coefficients, or a band of them."""
        alone = len(parts) == 1
        columns, rows = sizes[parts[0]] if alone else units
        last = dict.fromkeys(parts, 0)
        data, bits = b"", Bits()
        for unit in range(columns * rows):
            if restart and unit and unit % restart == 0:
                data += bits.bytes() + bytes([0xFF, 0xD0 + (unit // restart - 1) % 8])
                bits, last = Bits(), dict.fromkeys(parts, 0)
            for part in parts:
                across, down = (1, 1) if alone else factors[part]
                for row in range(down):
                    for column in range(across):
                        block = blocks[part][unit // columns * down + row, unit % columns * across + column]
                        if band[0] == 0:
                            size, value = bits.number(int(block[0]) - last[part])
                            last[part] = int(block[0])
                            bits.put(DC_SYMBOLS.index(size), 4)
                            bits.put(value, size)
                        run = 0
                        for k in range(max(1, band[0]), band[1] + 1):
                            if block[k] == 0:
                                run += 1
                                continue
                            while run > 15:
                                bits.put(AC_SYMBOLS.index(0xF0), 8)
                                run -= 16
                            size, value = bits.number(int(block[k]))
                            bits.put(AC_SYMBOLS.index(run << 4 | size), 8)
                            bits.put(value, size)
                            run = 0
                        if run and band[1] > 0:
                            bits.put(AC_SYMBOLS.index(0x00), 8)
        header = bytes([len(parts)]) + b"".join(bytes([names[part], 0]) for part in parts) + bytes([*band, 0])
        return segment(0xDA, header) + data + bits.bytes() + padding

    indices = list(range(len(planes)))
    frame = struct.pack(">BHHB", 8, height, width, len(planes)) + b"".join(
        bytes([names[i], factors[i][0] << 4 | factors[i][1], 0]) for i in indices
    )
    out = b"\xff\xd8" + markers + segment(0xDB, bytes([0]) + bytes([quantizer] * 64))
    out += segment(0xC2 if progressive else 0xC0, frame)
    out += segment(0xC4, bytes([0] + [0, 0, 0, len(DC_SYMBOLS)] + [0] * 12 + DC_SYMBOLS))
    out += segment(0xC4, bytes([0x10] + [0] * 7 + [len(AC_SYMBOLS)] + [0] * 8 + AC_SYMBOLS))
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    if progressive:
        out += scan(indices, (0, 0)) if interleaved else b"".join(scan([i], (0, 0)) for i in indices)
        out += b"".join(scan([i], band) for band in [(1, 5), (6, 63)] for i in indices)
    elif interleaved:
        out += scan(indices, (0, 63))
    else:
        out += b"".join(scan([i], (0, 63)) for i in indices)
    return out + b"\xff\xd9"


# --- PNG (W3C Recommendation, third edition) ---

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(name, body, damage=0):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body) ^ damage)


def packed_rows(numbers, depth):
    """Rows of numbers `[H, W, C]` as bytes."""
    rows = numbers.reshape(numbers.shape[0], -1)
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in rows]
    if depth == 8:
        return [row.astype(np.uint8).tobytes() for row in rows]
    bits = (rows[..., None] >> np.arange(depth)[::-1] & 1).reshape(rows.shape[0], -1).astype(np.uint8)
    return [row.tobytes() for row in np.packbits(bits, axis=1)]


def filtered(rows, step, choose):
    """Rows as a PNG filters them; `choose(row)` says how."""
    out, above = b"", None
    for number, row in enumerate(rows):
        kind = choose(number)
        a = np.frombuffer(bytes(step) + row[:-step] if len(row) > step else bytes(len(row)), np.uint8).astype(int)
        b = np.frombuffer(above or bytes(len(row)), np.uint8).astype(int)
        c = np.frombuffer((bytes(step) + above[:-step] if len(row) > step else bytes(len(row))) if above else bytes(len(row)), np.uint8).astype(int)
        x = np.frombuffer(row, np.uint8).astype(int)
        p = a + b - c
        pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
        paeth = np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))
        predicted = [0 * x, a, b, (a + b) // 2, paeth][kind]
        out += bytes([kind]) + ((x - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return out


def write_png(
    numbers, colour, depth, palette=None, interlaced=False, choose=lambda row: row % 5, before=b"", between=b"",
    split=None, level=6, empty_data=False,
):
    """A PNG of numbers `[H, W, C]`, as bytes; `split` is how many bytes a data chunk has at most."""
    height, width = numbers.shape[:2]
    step = max(1, CHANNELS[colour] * depth // 8)
    parts = [numbers[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [numbers]
    raw = b"".join(filtered(packed_rows(part, depth), step, choose) for part in parts if part.size)
    data = zlib.compress(raw, level)
    pieces = [data[i : i + split] for i in range(0, len(data), split)] if split else [data]
    if empty_data:
        pieces = [b""] + [piece for p in pieces for piece in (p, b"")]
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    out += before
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    out += between + b"".join(chunk(b"IDAT", piece) for piece in pieces) + chunk(b"IEND", b"")
    return out


# --- BMP ---


def write_bmp(rows, bits, width, palette=None, header=40, compression=0, masks=(), top_down=False):
    """A BMP of rows of bytes from the top down (or of compressed bytes as they are), as bytes."""
    height = len(rows) if isinstance(rows, list) else rows[0]
    if isinstance(rows, list):
        data = b"".join(row + bytes(-len(row) % 4) for row in (rows if top_down else rows[::-1]))
    else:
        data = rows[1]
    colours = b"" if palette is None else b"".join(
        bytes(c[::-1]) + (b"" if header == 12 else b"\0") for c in palette.astype(np.uint8).tolist()
    )
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack(
            "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression, len(data), 2835, 2835,
            0 if palette is None else len(palette), 0,
        )
        fields = struct.pack("<" + "I" * len(masks), *masks)
        info += fields + bytes(max(0, header - 40 - len(fields)))
    offset = 14 + len(info) + len(colours)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + colours + data


def run_lengths(indices, half=False):
    """The rows of palette numbers from the bottom up with run lengths of 8 or 4 bits."""
    out = b""
    for row in indices[::-1]:
        row, x = row.tolist(), 0
        while x < len(row):
            run = 1
            while x + run < len(row) and run < 255 and row[x + run] == row[x]:
                run += 1
            plain = row[x : x + min(7, len(row) - x)]
            if run < 3 and len(plain) >= 3:
                if half:
                    even = plain + [0] * (len(plain) % 2)
                    data = bytes(a << 4 | b for a, b in zip(even[::2], even[1::2]))
                else:
                    data = bytes(plain)
                out += bytes([0, len(plain)]) + data + bytes(len(data) % 2)
                x += len(plain)
            else:
                out += bytes([run, row[x] << 4 | row[x] if half else row[x]])
                x += run
        out += b"\0\0"
    return out + b"\0\1"
