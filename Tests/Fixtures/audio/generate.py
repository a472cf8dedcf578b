"""Makes the sound files of the tests and what libsndfile and libFLAC read in them.

    pip install numpy soundfile; apt install flac; python generate.py

The encoder here makes FLAC files of every kind that the format has, also those that no other encoder makes (variable block
sizes, escape codes, all depths). It chooses at random; what the samples are say other programs, which decode its files.
`decoded.npz` holds them as int32 [frames, channels], by file.
"""

import hashlib
import pathlib
import subprocess

import numpy as np
import soundfile

HERE = pathlib.Path(__file__).parent
SPEECH = HERE.parents[2] / "Sources/ToeplitzCommand/Resources/vocoder/speech.wav"


def crc(data, width, polynomial):
    top, mask, total = 1 << (width - 1), (1 << width) - 1, 0
    for byte in data:
        total ^= byte << (width - 8)
        for _ in range(8):
            total = (total << 1 ^ (polynomial if total & top else 0)) & mask
    return total


class Bits:
    def __init__(self):
        self.text = []

    def put(self, value, count):
        if count:
            self.text.append(format(int(value) & ((1 << count) - 1), f"0{count}b"))

    def unary(self, value):
        self.text.append("0" * int(value) + "1")

    def bytes(self):
        text = "".join(self.text)
        text += "0" * (-len(text) % 8)
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def coded_number(number):
    """As UTF-8, extended to 36 bits."""
    if number < 128:
        return bytes([number])
    count = next(n for n in range(2, 8) if number < 1 << (5 * n + 1 if n < 7 else 36))
    tail = [0x80 | number >> 6 * i & 0x3F for i in range(count - 1)][::-1]
    return bytes([(0xFF << (8 - count) & 0xFF) | (number >> 6 * (count - 1))] + tail)


class Encoder:
    RATES = {88200: 1, 176400: 2, 192000: 3, 8000: 4, 16000: 5, 22050: 6, 24000: 7, 32000: 8, 44100: 9, 48000: 10, 96000: 11}
    DEPTHS = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}

    def __init__(self, samples, depth, rate, seed, sizes, modes=(0, 8, 9, 10), kinds=("fixed", "linear", "verbatim"), unknown=False):
        self.random = np.random.default_rng(seed)
        self.samples, self.depth, self.rate = samples.astype(np.int64), depth, rate
        self.sizes, self.modes, self.kinds, self.unknown = sizes, modes, kinds, unknown

    def file(self):
        frames, start, number = [], 0, 0
        variable = len(set(self.sizes)) > 1
        while start < len(self.samples):
            size = min(self.sizes[number % len(self.sizes)], len(self.samples) - start)
            frames.append(self.frame(self.samples[start : start + size], start if variable else number, variable))
            start, number = start + size, number + 1
        width = (self.depth + 7) // 8
        raw = b"".join(int(v).to_bytes(width, "little", signed=True) for v in self.samples.reshape(-1))
        total = 0 if self.unknown else len(self.samples)
        info = Bits()
        for value, count in [(min(self.sizes), 16), (max(self.sizes), 16), (0, 24), (0, 24), (self.rate, 20),
                             (self.samples.shape[1] - 1, 3), (self.depth - 1, 5), (total, 36)]:
            info.put(value, count)
        digest = bytes(16) if self.unknown else hashlib.md5(raw).digest()
        body = info.bytes() + digest
        return b"fLaC" + b"\x80" + len(body).to_bytes(3, "big") + body + b"".join(frames)

    def frame(self, block, number, variable):
        size, channels = block.shape
        mode = int(self.random.choice(self.modes)) if channels == 2 else 0
        head, extra = Bits(), b""
        common = {192: 1, 576: 2, 1152: 3, 2304: 4, 4608: 5, 256: 8, 512: 9, 1024: 10, 2048: 11, 4096: 12}
        code = common.get(size, 6 if size <= 256 else 7)
        if code in (6, 7):
            extra += (size - 1).to_bytes(code - 5, "big")
        rate = self.RATES.get(self.rate) if self.random.random() < 0.5 else 0
        if rate is None:
            rate = 12 if self.rate % 1000 == 0 and self.rate < 256000 else 13 if self.rate < 65536 else 14
            extra += {12: (self.rate // 1000, 1), 13: (self.rate, 2), 14: (self.rate // 10, 2)}[rate][0].to_bytes(1 if rate == 12 else 2, "big")
        depth = self.DEPTHS.get(self.depth, 0) if self.random.random() < 0.7 else 0
        for value, count in [(0x3FFE, 14), (0, 1), (variable, 1), (code, 4), (rate, 4), (mode or channels - 1, 4), (depth, 3), (0, 1)]:
            head.put(value, count)
        head = head.bytes() + coded_number(number) + extra
        bits = Bits()
        stored = [block[:, c] for c in range(channels)]
        if mode:
            left, right = stored
            stored = {8: [left, left - right], 9: [left - right, right], 10: [(left + right) >> 1, left - right]}[mode]
        side = {8: 1, 9: 0, 10: 1}.get(mode)
        for index, values in enumerate(stored):
            self.subframe(bits, values, self.depth + (index == side))
        data = head + bytes([crc(head, 8, 7)]) + bits.bytes()
        return data + crc(data, 16, 0x8005).to_bytes(2, "big")

    def subframe(self, bits, values, depth):
        bits.put(0, 1)
        wasted = 0
        if np.any(values):
            together = int(np.bitwise_or.reduce(values))
            wasted = (together & -together).bit_length() - 1
        constant = bool(np.all(values == values[0]))
        kind = "constant" if constant else str(self.random.choice(self.kinds))
        order = {"fixed": int(self.random.integers(0, 5)), "linear": int(self.random.integers(1, 33))}.get(kind, 0)
        if order > len(values):
            kind, order = "verbatim", 0
        residual = coefficients = None
        values = values >> wasted
        depth -= wasted
        if kind == "fixed":
            coefficients, shift = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]][order], 0
        elif kind == "linear":
            precision, shift = int(self.random.integers(5, 16)), int(self.random.integers(0, 12))
            limit = (1 << (precision - 1)) - 1
            # What predicts best, as far as the choice of digits lets it.
            rows = np.stack([np.concatenate([np.zeros(k + 1), values[: len(values) - k - 1]]) for k in range(order)], 1)
            best = np.linalg.lstsq(rows[order:].astype(float), values[order:].astype(float), rcond=None)[0] if len(values) > 2 * order else np.zeros(order)
            coefficients = [int(v) for v in np.clip(np.round(best * (1 << shift)), -limit - 1, limit)]
        if coefficients is not None:
            predicted = [sum(c * int(values[i - 1 - k]) for k, c in enumerate(coefficients)) >> shift for i in range(order, len(values))]
            residual = [int(values[order + i]) - p for i, p in enumerate(predicted)]
            if any(not -(1 << 31) < r < 1 << 31 for r in residual):
                kind, order, residual = "verbatim", 0, None
        bits.put({"constant": 0, "verbatim": 1, "fixed": 8 + order, "linear": 31 + order}[kind], 6)
        bits.put(wasted > 0, 1)
        if wasted:
            bits.unary(wasted - 1)
        if kind == "constant":
            return bits.put(values[0], depth)
        for value in values[: len(values) if kind == "verbatim" else order]:
            bits.put(value, depth)
        if residual is None:
            return
        if kind == "linear":
            bits.put(precision - 1, 4)
            bits.put(shift, 5)
            for value in coefficients:
                bits.put(value, precision)
        self.residual(bits, residual, order)

    def residual(self, bits, residual, order):
        count = len(residual) + order
        orders = [p for p in range(9) if count % (1 << p) == 0 and count >> p >= max(order, 1)]
        partitions = int(self.random.choice(orders))
        chosen, start = [], 0
        for index in range(1 << partitions):
            size = (count >> partitions) - (order if index == 0 else 0)
            part, start = residual[start : start + size], start + size
            folded = [r << 1 if r >= 0 else (-r << 1) - 1 for r in part]
            mean = sum(folded) // max(len(folded), 1)
            parameter = max(mean.bit_length() - 1 + int(self.random.integers(-1, 2)), 0)
            width = max((r if r >= 0 else ~r).bit_length() + 1 for r in part) if any(part) else 0
            escaped = width < 32 and self.random.random() < 0.2
            chosen.append((part, folded, parameter, width, escaped))
        method = int(any(c[2] > 14 for c in chosen) or self.random.random() < 0.2)
        bits.put(method, 2)
        bits.put(partitions, 4)
        for part, folded, parameter, width, escaped in chosen:
            parameter = min(parameter, 30 if method else 14)
            bits.put((31 if method else 15) if escaped else parameter, 5 if method else 4)
            if escaped:
                bits.put(width, 5)
                for value in part:
                    bits.put(value, width)
                continue
            for value in folded:
                bits.unary(value >> parameter)
                bits.put(value, parameter)


def sound(count, channels, depth, seed, loudness=0.9):
    """Tones that glide, and some noise; nearly the same in all channels."""
    random = np.random.default_rng(seed)
    time = np.arange(count) / 8000
    common = 0.6 * np.sin(2 * np.pi * (300 + 900 * time) * time) + 0.25 * np.sin(2 * np.pi * 1700 * time)
    every = [common + 0.1 * random.standard_normal(count) * random.random() for _ in range(channels)]
    top = 1 << (depth - 1)
    return np.clip(np.round(np.stack(every, 1) * loudness * top), -top, top - 1).astype(np.int64)


def own_files():
    yield "variable-16", Encoder(sound(3000, 2, 16, 1), 16, 44100, 1, [192, 700, 16, 1152, 5, 256, 37])
    yield "mono-8", Encoder(sound(1500, 1, 8, 2), 8, 8000, 2, [576])
    yield "six-24", Encoder(sound(500, 6, 24, 3), 24, 48000, 3, [256, 90])
    yield "eight-16", Encoder(sound(300, 8, 16, 4), 16, 96000, 4, [192])
    yield "stereo-24", Encoder(sound(1500, 2, 24, 5), 24, 37800, 5, [400, 401])
    yield "stereo-32", Encoder(sound(1000, 2, 32, 6, 0.999), 32, 192000, 6, [300, 45])
    yield "mono-32", Encoder(sound(700, 1, 32, 7), 32, 655350, 7, [256])
    yield "stereo-12", Encoder(sound(1200, 2, 12, 8), 12, 11025, 8, [300])
    yield "stereo-20", Encoder(sound(900, 2, 20, 9), 20, 22050, 9, [300])
    yield "wasted", Encoder(sound(1000, 2, 10, 10) << 6, 16, 32000, 10, [250], modes=(0,))
    yield "unknown-length", Encoder(sound(1000, 2, 16, 11), 16, 16000, 11, [192], unknown=True)
    extremes = np.random.default_rng(12).choice([-32768, 32767], (300, 2))
    yield "extremes", Encoder(extremes, 16, 8000, 12, [100])
    quiet = sound(800, 2, 16, 13)
    quiet[200:600] = [[5, -7]]
    yield "constant", Encoder(quiet, 16, 24000, 13, [100])
    # The worst difference of two channels: 33 bits.
    top = 1 << 31
    worst = np.array([[-top, top - 1], [top - 1, -top]] * 40)
    yield "difference-33", Encoder(worst, 32, 44100, 14, [16], kinds=("verbatim", "fixed"))


def libflac(name, arguments, samples, rate):
    wav = HERE / "temporary.wav"
    soundfile.write(wav, samples, rate, subtype="PCM_16")
    subprocess.run(["flac", "-s", "-f", *arguments, "-o", HERE / f"{name}.flac", wav], check=True)
    wav.unlink()


def decoded(path):
    data = path.read_bytes()
    start = data.index(b"fLaC")
    depth = (int.from_bytes(data[start + 18 : start + 26], "big") >> 36 & 31) + 1
    channels = (int.from_bytes(data[start + 18 : start + 26], "big") >> 41 & 7) + 1
    if depth not in (8, 16, 24, 32):
        wav = HERE / "temporary.wav"
        subprocess.run(["flac", "-s", "-d", "-f", "-o", wav, path], check=True)
        values = soundfile.read(wav, dtype="int32", always_2d=True)[0] >> (32 - depth)
        wav.unlink()
        return values
    subprocess.run(["flac", "-s", "-t", path], check=True)
    raw = subprocess.run(
        ["flac", "-s", "-d", "-c", "--force-raw-format", "--endian=little", "--sign=signed", path], check=True, capture_output=True
    ).stdout
    stored = np.frombuffer(raw, np.uint8).reshape(-1, channels, depth // 8)
    values = np.zeros(stored.shape[:2] + (4,), np.uint8)
    values[:, :, 4 - depth // 8 :] = stored
    values = values.view("<i4")[:, :, 0] >> (32 - depth)
    # soundfile wants to know the length, and reads no 32 bits.
    if depth < 32 and "unknown" not in path.name:
        assert np.array_equal(values, soundfile.read(path, dtype="int32", always_2d=True)[0] >> (32 - depth)), path
    return values


def main():
    given = {}
    for name, encoder in own_files():
        given[name] = encoder.samples
        (HERE / f"{name}.flac").write_bytes(encoder.file())
    speech = soundfile.read(SPEECH, dtype="int16")[0]
    libflac("speech", ["-8"], speech[20000:26000], 22050)
    two = np.stack([speech[30000:34000], speech[30010:34010]], 1)
    libflac("stereo-seek", ["-5", "--seekpoint=500x", "--picture=3||||" + str(HERE / "../images/grey.png")], two, 44100)
    libflac("stereo-fixed", ["-2", "-b", "1000"], two, 48000)
    tagged = HERE / "tagged.flac"
    tag = b"ID3\4\0\0" + bytes([0, 0, 1, 22]) + bytes(150)
    tagged.write_bytes(tag + (HERE / "mono-8.flac").read_bytes() + b"TAG" + bytes(125))
    result = {}
    for path in sorted(HERE.glob("*.flac")):
        if path == tagged:
            result[path.stem] = result["mono-8"]
            continue
        result[path.stem] = decoded(path)
        assert path.stem not in given or np.array_equal(result[path.stem], given[path.stem]), path
    # What libsndfile makes of other families.
    short = two[:60].astype(np.int16)
    for name, format, subtype, endian in [
        ("ulaw", "WAV", "ULAW", "FILE"), ("alaw", "WAV", "ALAW", "FILE"), ("alaw-extensible", "WAVEX", "ALAW", "FILE"),
        ("wave64", "W64", "PCM_24", "FILE"), ("wave64-ulaw", "W64", "ULAW", "FILE"), ("wave64-double", "W64", "DOUBLE", "FILE"),
        ("rifx-16", "WAV", "PCM_16", "BIG"), ("rifx-24", "WAV", "PCM_24", "BIG"), ("rifx-float", "WAV", "FLOAT", "BIG"),
        ("rifx-alaw", "WAV", "ALAW", "BIG"), ("rf64", "RF64", "PCM_16", "FILE"), ("rf64-ulaw", "RF64", "ULAW", "FILE"),
    ]:
        path = HERE / f"{name}.wav"
        soundfile.write(path, short, 16000, subtype=subtype, format=format, endian=endian)
        result[name] = soundfile.read(path, dtype="float32", always_2d=True)[0]
    # All codes.
    for name, format in [("ulaw-codes", 7), ("alaw-codes", 6)]:
        data = bytes(range(256))
        head = b"WAVEfmt " + (16).to_bytes(4, "little") + format.to_bytes(2, "little") + b"\1\0" + (8000).to_bytes(4, "little") * 2 + b"\1\0\x08\0"
        body = head + b"data" + len(data).to_bytes(4, "little") + data
        path = HERE / f"{name}.wav"
        path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
        result[name] = soundfile.read(path, dtype="float32", always_2d=True)[0]
    np.savez_compressed(HERE / "decoded.npz", **result)


main()
