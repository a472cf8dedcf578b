#!/usr/bin/env python3
"""Writes small PyTorch checkpoints of many kinds into kinds/, and what they hold into kinds/expected.safetensors.

The tensor NAME of the file FILE is called FILE:NAME there; `unreadable.json` has the names that cannot be read. Needs the
Python packages torch, numpy and safetensors.
"""

import argparse
import collections
import datetime
import enum
import io
import json
import pathlib
import pickle
import struct
import warnings

import numpy as np
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent / "kinds"
expected = {}
unreadable = {}


def plain(tensor):
    if isinstance(tensor, np.ndarray):
        tensor = torch.from_numpy(np.array(tensor.astype(tensor.dtype.newbyteorder("=")), order="C"))
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.clone().contiguous()


def expect(file, tensors, names=()):
    for name, tensor in tensors.items():
        expected[f"{file}:{name}"] = plain(tensor)
    unreadable[file] = sorted(names)


def save(file, value, tensors, names=(), **options):
    torch.save(value, HERE / file, **options)
    expect(file, tensors, names)


class Settings:
    """An object of a class that no reader knows."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Slots:
    __slots__ = ["weight"]


class Colour(enum.Enum):
    RED = 1


def make(*values):
    raise RuntimeError("nothing in a pickle is run")


class Made:
    """What a function makes of a tensor."""

    def __init__(self, *values):
        self.values = values

    def __reduce__(self):
        return make, self.values


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.BatchNorm1d(3))
        self.register_buffer("window", torch.hann_window(4))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.register_parameter("nothing", None)
        self.note = torch.ones(2)
        self.owner = [self]


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)
        self.register_buffer("mean", torch.arange(3.0))

    def forward(self, x):
        return self.linear(x) + self.mean


def state():
    torch.manual_seed(11)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return collections.OrderedDict(
        {
            "conv.weight": torch.nn.Parameter(torch.rand(3, 2, 3)),
            "half": torch.rand(5).half(),
            "bfloat": torch.rand(5).bfloat16(),
            "double": torch.rand(2, 2, dtype=torch.float64),
            "long": torch.arange(-3, 3),
            "short": torch.arange(4, dtype=torch.int16),
            "byte": torch.arange(3, dtype=torch.uint8),
            "bool": torch.tensor([True, False, True]),
            "scalar": torch.tensor(7),
            "empty": torch.zeros(0, 3),
            "whole": base,
            "transposed": base.t(),
            "part": base[1:3, 2:5],
        }
    )


def legacy_by_hand():
    """A file as PyTorch 0.3 on Python 2 wrote it: byte strings, parts of storages, parameters by their class."""
    out = io.BytesIO()
    for value in [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]:
        out.write(pickle.dumps(value, 2))

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def storage(kind, key, count, part):
        module = b"torch.cuda" if kind == b"FloatStorage" else b"torch"
        part = b"(" + text(part[0]) + b"K" + bytes([part[1]]) + b"K" + bytes([part[2]]) + b"t" if part else b"N"
        return (
            b"(" + text(b"storage") + b"c" + module + b"\n" + kind + b"\n" + text(key) + text(b"cpu")
            + b"K" + bytes([count]) + part + b"tQ"
        )

    def tensor(storage, offset, size, stride):
        return (
            b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"K" + bytes([offset])
            + b"(K" + bytes([size]) + b"t(K" + bytes([stride]) + b"ttR"
        )

    whole = storage(b"FloatStorage", b"100", 6, None)
    part = storage(b"FloatStorage", b"100", 6, (b"101", 2, 3))
    bytes_ = storage(b"ByteStorage", b"200", 3, None)
    out.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    out.write(text(b"whole") + tensor(whole, 0, 6, 1))
    out.write(text(b"part") + tensor(part, 1, 2, 1))
    out.write(text(b"parameter") + b"ctorch.nn.parameter\nParameter\n" + tensor(whole, 1, 3, 2) + b"\x85R(\x88\x89Ntb")
    out.write(text(b"codes") + tensor(bytes_, 0, 3, 1))
    out.write(b"u.")
    out.write(pickle.dumps(["100", "200"], 2))
    out.write(struct.pack("<q6f", 6, *range(6)) + struct.pack("<q3B", 3, 7, 8, 9))
    (HERE / "legacy_python2.pt").write_bytes(out.getvalue())
    values = torch.arange(6.0)
    expect(
        "legacy_python2.pt",
        {"whole": values, "part": values[3:5], "parameter": values[1::2], "codes": torch.tensor([7, 8, 9]).byte()},
    )


def archives():
    tensors = state()
    legacy = {"_use_new_zipfile_serialization": False}
    save("legacy_state.pt", tensors, tensors, **legacy)
    save("legacy_nested", {"model": {"layers": [tensors["long"], {"x": tensors["half"]}]}, "epoch": 3},
         {"model.layers.0": tensors["long"], "model.layers.1.x": tensors["half"]}, **legacy)
    for protocol in [1, 3, 4, 5]:
        save(f"legacy_protocol{protocol}.pth.tar", {"a": tensors["long"], "b": tensors["part"]},
             {"a": tensors["long"], "b": tensors["part"]}, pickle_protocol=protocol, **legacy)
        save(f"protocol{protocol}.bin", {"a": tensors["long"], "b": tensors["part"], "s": {1}},
             {"a": tensors["long"], "b": tensors["part"]}, pickle_protocol=protocol)
    model = Model().eval()
    save("module.pt", model, model.state_dict())
    save("legacy_module.pt", {"epoch": 1, "model": model}, {f"model.{k}": v for k, v in model.state_dict().items()},
         **legacy)
    legacy_by_hand()
    script = torch.jit.script(Scripted().eval())
    torch.jit.save(script, HERE / "script.jit")
    expect("script.jit", script.state_dict())
    frozen = torch.jit.freeze(script)
    torch.jit.save(frozen, HERE / "frozen.jit")
    expect("frozen.jit", {f"CONSTANTS.{name}": value for name, value in
                          torch.jit.load(HERE / "frozen.jit").code_with_constants[1].const_mapping.items()})


def values():
    one = torch.arange(3.0)
    save("objects.pt", {
        "state": {"w": one}, "counts": collections.Counter({2: 1}), "set": {1, 2}, "frozen": frozenset(["a"]),
        "path": pathlib.PurePosixPath("/a/b"), "day": datetime.date(2020, 1, 2),
        "time": datetime.datetime(2020, 1, 2, 3, 4, 5, 6), "args": argparse.Namespace(lr=0.5, names=["x"]),
        "scalar": np.float64(0.25), "number": np.int32(-4), "flag": np.bool_(True), "complex": 1 + 2j, "bytes": b"\xff",
        "array": bytearray(b"ab"), "queue": collections.deque([one * 2]), "type": torch.float16,
        "device": torch.device("cuda:0"), "size": torch.Size([1, 2]), "function": print, "colour": Colour.RED,
        "groups": collections.defaultdict(list, {"b": one * 3}), "settings": Settings(scale=one * 4, rate=2),
        "random": np.random.RandomState(1).get_state(), "big": 1 << 100, "none": None, "range": range(3),
        "tuple": collections.namedtuple("tuple", "x")(5).__class__.__mro__[1]((one * 5,)),
    }, {"state.w": one, "queue.0": one * 2, "groups.b": one * 3, "settings.scale": one * 4, "tuple.0": one * 5,
        "random.1": np.random.RandomState(1).get_state()[1]})
    slots = Slots()
    slots.weight = one
    save("slots.pt", {"s": slots, "made": Made(1)}, {"s.weight": one})
    save("foreign.pt", {"state": {"w": one}, "made": Made(one), "inner": [Made([one]), one]},
         {"state.w": one, "inner.1": one}, ["made", "inner.0"])
    save("numpy.pt", {
        "c": np.arange(6, dtype="<f4").reshape(2, 3), "f": np.asfortranarray(np.arange(6, dtype="<i4").reshape(2, 3)),
        "big": np.arange(4, dtype=">i2"), "complex": np.array([1 + 2j, 3 - 4j]), "bool": np.array([True, False]),
        "text": np.array(["a", "bc"]), "objects": np.array([{}, 1], dtype=object), "half": np.float16([1.5]),
        "scalar": np.array(7.0), "empty": np.zeros((0, 2))},
        {"c": np.arange(6, dtype="<f4").reshape(2, 3), "f": np.arange(6, dtype="<i4").reshape(2, 3),
         "big": np.arange(4, dtype="<i2"), "complex": np.array([1 + 2j, 3 - 4j]), "bool": np.array([True, False]),
         "half": np.float16([1.5]), "scalar": np.array(7.0), "empty": np.zeros((0, 2))}, ["text", "objects"])
    arrays = {"w": np.arange(6, dtype="<f8").reshape(2, 3).T, "m": {"b": np.array([1, 2], dtype="u1")}}
    for protocol in range(6):
        (HERE / f"arrays{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))
        expect(f"arrays{protocol}.pkl", {"w": arrays["w"], "m.b": arrays["m"]["b"]})
    z = torch.tensor([1 + 2j, 3 - 4j])
    # A view that negates, of memory of its own: one storage cannot be saved as two types.
    negative = torch.tensor([5 + 6j, 7 - 8j]).conj().imag
    save("complex.pt", {"z": z, "conj": z.conj(), "neg": negative, "double": z.to(torch.complex128).reshape(2, 1),
                        "strided": torch.stack([z, z * 2]).t()},
         {"z": z, "conj": z.conj(), "neg": negative, "double": z.to(torch.complex128).reshape(2, 1),
          "strided": torch.stack([z, z * 2]).t()})
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    scales, zeros = torch.tensor([0.1, 0.02, 0.3]), torch.tensor([0, 3, -2])
    quantized = {
        "i8": torch.quantize_per_tensor(x, 0.013, 5, torch.qint8),
        "u8": torch.quantize_per_tensor(x, 0.01, 128, torch.quint8).t(),
        "i32": torch.quantize_per_tensor(x, 1e-7, 0, torch.qint32),
        "channels": torch.quantize_per_channel(x, scales, zeros, 0, torch.qint8),
        "axis1": torch.quantize_per_channel(x.t().contiguous(), scales, zeros, 1, torch.qint8),
    }
    save("quantized.pt", quantized, quantized)
    many = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 0]], [3.0, 4.0, 0.5], (2, 3))
    hybrid = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    matrix = torch.tensor([[0.0, 1, 2], [3, 0, 0]])
    sparse = {"many": many, "hybrid": hybrid, "coo": matrix.long().to_sparse(), "csr": matrix.to_sparse_csr(),
              "csc": matrix.to_sparse_csc()}
    blocks = torch.eye(4).to_sparse_bsr((2, 2))
    save("sparse.pt", {**sparse, "bsr": blocks}, sparse, ["bsr"])
    unsigned = {"u16": torch.arange(3).to(torch.uint16), "u64": torch.arange(3).to(torch.uint64),
                "f8": torch.arange(3.0).to(torch.float8_e4m3fn)}
    save("unsigned.pt", unsigned, unsigned)
    marked = torch.nn.Parameter(one.clone())
    marked.note = "kept"
    tagged = one * 7
    tagged.note = "kept"
    save("attributes.pt", {"p": marked, "t": tagged, "meta": torch.empty(2, device="meta")},
         {"p": marked, "t": tagged}, ["meta"])
    save("storage.pt", {"s": one.storage()}, {"s": one})
    save("bare.pt", one, {"tensor": one})
    save("list.pt", [one, [one * 2]], {"0": one, "1.0": one * 2})


def keys():
    one, two = torch.arange(2.0), torch.arange(3.0)
    save("keys.pt", {(0, "a"): one, 0.5: two, None: one, True: two, b"raw": one, "nested": {2: two}},
         {"(0, 'a')": one, "0.5": two, "None": one, "True": two, "raw": one, "nested.2": two})
    save("object_key.pt", {"w": one, Colour.RED: {"x": two}}, {"w": one}, ["?"])
    save("collision_list.pt", {"a": [one], "a.0": two, "b": two}, {"b": two}, ["a.0"])
    save("collision_deep.pt", {"a.b": {"c": one}, "a": {"b.c": two}, "d": one}, {"d": one}, ["a.b.c"])
    save("collision_none.pt", {None: one, "None": two, "b": two}, {"b": two}, ["None"])
    ring = {"w": one}
    ring["self"] = ring
    ring["list"] = [two]
    ring["list"].append(ring["list"])
    save("cycle.pt", ring, {"w": one, "list.0": two})


def shards():
    one, two = torch.arange(4.0), torch.arange(6).reshape(2, 3)
    torch.save({"a": one}, HERE / "pytorch_model-00001-of-00002.bin")
    torch.save({"b.c": two}, HERE / "pytorch_model-00002-of-00002.bin", _use_new_zipfile_serialization=False)
    index = {"metadata": {"total_size": 64}, "weight_map": {
        "a": "pytorch_model-00001-of-00002.bin", "b.c": "pytorch_model-00002-of-00002.bin"}}
    (HERE / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    expect("pytorch_model.bin.index.json", {"a": one, "b.c": two})


def main():
    warnings.filterwarnings("ignore")
    # The old format puts the source text of modules beside their names; it is not read.
    torch.serialization.get_source_lines_and_file = lambda *_: (["pass\n"], 0, "model.py")
    HERE.mkdir(exist_ok=True)
    archives()
    values()
    keys()
    shards()
    safetensors.torch.save_file(expected, HERE / "expected.safetensors")
    (HERE / "unreadable.json").write_text(json.dumps(unreadable, indent=1) + "\n")


if __name__ == "__main__":
    main()
