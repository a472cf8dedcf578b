#!/usr/bin/env python3
"""Makes damaged and hostile models and inputs and checks that the tool refuses each as its contract says.

Needs the Python packages onnx and numpy. For every case the tool must end within 10 seconds with status 1 (64 for a
usage error), write one line that starts with `error:` to standard error, write no file and use at most 1 GB of memory.

    Scripts/onnx-malformed.py [--tool .build/release/toeplitz] [--filter TEXT] [--verbose]
"""

import argparse
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import hostile_files
import hostile_models

F = TensorProto.FLOAT


def model(nodes, inputs=(("x", F, [1, 2, 4, 4]),), outputs=(("y", F, None),), initializers=(), opset=17, **extra):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    for key, value in extra.items():
        setattr(made, key, value)
    return made


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def weight(name="w", shape=(3, 2, 3, 3)):
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def tensor(name, dims, data_type=F, **fields):
    made = TensorProto(name=name, data_type=data_type)
    made.dims.extend(dims)
    for key, value in fields.items():
        if isinstance(value, TensorProto.Segment):
            getattr(made, key).CopyFrom(value)
        elif isinstance(value, list):
            getattr(made, key).extend(value)
        else:
            setattr(made, key, value)
    return made


def external(location, **entries):
    made = TensorProto(name="w", data_type=F, data_location=TensorProto.EXTERNAL)
    made.dims.extend([3, 2, 3, 3])
    for key, value in {"location": location, **entries}.items():
        entry = made.external_data.add()
        entry.key, entry.value = key, str(value)
    return made


def ints(name, values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def conv(**attributes):
    return node("Conv", ["x", "w"], ["y"], **attributes)


def reads(initializer):
    return model([conv()], initializers=[initializer])


def field(number, content):
    """A length-delimited field of the wire format."""
    def varint(value):
        out = b""
        while value >= 0x80:
            out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
        return out + bytes([value])

    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(depth):
    """A model whose graphs are nested deeper than the Python package can write."""
    graph = field(2, b"g")
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, graph)
        graph = field(1, field(4, b"If") + field(5, attribute))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")


def models():
    """Name and bytes of each damaged model; all have an input x unless it cannot matter."""
    good = model([conv()], initializers=[weight()]).SerializeToString()
    cases = {
        "empty": b"",
        "text": b"this is not a model\n" * 10,
        "zeros": bytes(1000),
        "ones": b"\xff" * 1000,
        "truncated-half": good[: len(good) // 2],
        "truncated-last-byte": good[:-1],
        "truncated-first-bytes": good[:3],
        "garbage-after": good + b"\x0a\xff\xff\xff\xff\x0f",
        "huge-length": b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        "length-beyond-64-bits": b"\x3a" + b"\xff" * 12,
        "group-wire-type": b"\x3b" + good,
        "field-zero": b"\x02\x01a" + good,
        "wrong-wire-type": b"\x3d\x01\x02\x03\x04",
        "deep-subgraphs": nested(2000),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
    made = {
        "no-graph": onnx.ModelProto(ir_version=8),
        "old-ir": model([conv()], initializers=[weight()], ir_version=2),
        "no-opset": helper.make_model(model([conv()], initializers=[weight()]).graph, ir_version=8, opset_imports=[]),
        "no-outputs": model([conv()], outputs=(), initializers=[weight()]),
        "missing-output": model([node("Relu", ["x"], ["z"])]),
        "unknown-operator": model([node("FooBar", ["x"], ["y"])]),
        "many-unknown-operators": model([node(f"Foo{i}", ["x"], [f"y{i}"]) for i in range(200)] + [node("Relu", ["x"], ["y"])]),
        "unknown-domain": model([helper.make_node("Relu", ["x"], ["y"], domain="com.example")]),
        "cycle": model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]),
        "self-cycle": model([node("Add", ["x", "y"], ["y"])]),
        "undefined-input": model([node("Add", ["x", "nowhere"], ["y"])]),
        "duplicate-output": model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]),
        "duplicate-initializer": model([conv()], initializers=[weight(), weight()]),
        "nameless-initializer": model([node("Relu", ["x"], ["y"])], initializers=[weight("")]),
        "raw-too-short": reads(tensor("w", [3, 2, 3, 3], raw_data=bytes(10))),
        "raw-too-long": reads(tensor("w", [3, 2, 3, 3], raw_data=bytes(4 * 54 + 4))),
        "raw-none": reads(tensor("w", [3, 2, 3, 3])),
        "typed-too-short": reads(tensor("w", [3, 2, 3, 3], float_data=[1.0] * 5)),
        "typed-wrong-field": reads(tensor("w", [3, 2, 3, 3], int64_data=[1] * 54)),
        "dims-negative": reads(tensor("w", [3, -2, 3, 3], raw_data=bytes(216))),
        "dims-overflow": reads(tensor("w", [1 << 40, 1 << 40], raw_data=bytes(16))),
        "dims-overflow-with-zero": reads(tensor("w", [0, 1 << 62, 1 << 62, 3], raw_data=b"")),
        "dims-huge": reads(tensor("w", [1 << 33, 2, 3, 3], raw_data=bytes(216))),
        "dims-many": reads(tensor("w", [1] * 1000, raw_data=bytes(4))),
        "type-unknown": reads(tensor("w", [3, 2, 3, 3], 99, raw_data=bytes(216))),
        "type-string": reads(tensor("w", [1], TensorProto.STRING, string_data=[b"a"])),
        "type-complex": reads(tensor("w", [27], TensorProto.COMPLEX64, raw_data=bytes(216))),
        "bool-two": model([node("Where", ["w", "x", "x"], ["y"])], initializers=[tensor("w", [4], TensorProto.BOOL, raw_data=b"\x00\x01\x02\xff")]),
        "segment": reads(tensor("w", [3, 2, 3, 3], raw_data=bytes(216), segment=TensorProto.Segment(begin=0, end=4))),
        "external-absolute": reads(external("/etc/passwd", length=216)),
        "external-parent": reads(external("../secret.bin", length=216)),
        "external-hidden-parent": reads(external("a/../../secret.bin", length=216)),
        "external-link": reads(external("link.bin", length=216)),
        "external-missing": reads(external("missing.bin")),
        "external-folder": reads(external(".")),
        "external-device": reads(external("device")),
        "external-offset-beyond": reads(external("data.bin", offset=1 << 40)),
        "external-negative": reads(external("data.bin", offset=-4)),
        "external-length-wrong": reads(external("data.bin", length=4)),
        "external-text-offset": reads(external("data.bin", offset="abc")),
        "external-no-location": reads(external("")),
        "conv-groups-zero": model([conv(group=0)], initializers=[weight()]),
        "conv-groups-huge": model([conv(group=1 << 62)], initializers=[weight()]),
        "conv-stride-zero": model([conv(strides=[0, 0])], initializers=[weight()]),
        "conv-stride-huge": model([conv(strides=[1 << 62, 1 << 62], pads=[1 << 62] * 4)], initializers=[weight()]),
        "conv-pads-negative": model([conv(pads=[-10, -10, -10, -10])], initializers=[weight()]),
        "conv-pads-short": model([conv(pads=[1])], initializers=[weight()]),
        "conv-auto-pad": model([conv(auto_pad="SIDEWAYS")], initializers=[weight()]),
        "conv-channels": model([conv()], initializers=[weight(shape=(3, 5, 3, 3))]),
        "conv-kernel-shape": model([conv(kernel_shape=[5, 5])], initializers=[weight()]),
        "conv-attribute-type": model([conv(strides="two")], initializers=[weight()]),
        "conv-dilation-overflow": model([conv(dilations=[(1 << 62), (1 << 62)])], initializers=[weight()]),
        "transposed-huge-output": model([node("ConvTranspose", ["x", "w"], ["y"], output_shape=[1 << 30, 1 << 30])], initializers=[weight(shape=(2, 3, 3, 3))]),
        "pool-kernel-huge": model([node("MaxPool", ["x"], ["y"], kernel_shape=[1 << 40, 1 << 40])]),
        "pool-no-kernel": model([node("MaxPool", ["x"], ["y"])]),
        "reshape-huge": model([node("Reshape", ["x", "s"], ["y"])], initializers=[ints("s", [1 << 62, 1 << 62])]),
        "reshape-two-unknown": model([node("Reshape", ["x", "s"], ["y"])], initializers=[ints("s", [-1, -1])]),
        "expand-huge": model([node("Expand", ["x", "s"], ["z"]), node("Relu", ["z"], ["y"])], initializers=[ints("s", [1 << 40, 2, 4, 4])]),
        "tile-huge": model([node("Tile", ["x", "s"], ["y"])], initializers=[ints("s", [1 << 40, 1, 1, 1])]),
        "tile-overflow": model([node("Tile", ["x", "s"], ["y"])], initializers=[ints("s", [1 << 62, 1 << 62, 4, 4])]),
        "constant-of-shape-huge": model([node("ConstantOfShape", ["s"], ["z"]), node("Neg", ["z"], ["y"])], initializers=[ints("s", [1 << 45])]),
        "constant-of-shape-overflow": model([node("ConstantOfShape", ["s"], ["y"])], initializers=[ints("s", [1 << 62, 8])]),
        "constant-of-shape-negative": model([node("ConstantOfShape", ["s"], ["y"])], initializers=[ints("s", [-1])]),
        "range-huge": model([node("Range", ["a", "b", "c"], ["y"])], outputs=(("y", TensorProto.INT64, None),), initializers=[ints("a", 0), ints("b", 1 << 62), ints("c", 1)]),
        "range-step-zero": model([node("Range", ["a", "b", "c"], ["y"])], outputs=(("y", TensorProto.INT64, None),), initializers=[ints("a", 0), ints("b", 5), ints("c", 0)]),
        "pad-huge": model([node("Pad", ["x", "p"], ["y"])], initializers=[ints("p", [0, 0, 1 << 40, 0, 0, 0, 1 << 40, 0])]),
        "pad-wrong-count": model([node("Pad", ["x", "p"], ["y"])], initializers=[ints("p", [1, 2, 3])]),
        "resize-huge": model([node("Resize", ["x", "", "s"], ["y"])], initializers=[numpy_helper.from_array(np.array([1, 1, 1e9, 1e9], np.float32), "s")]),
        "resize-nan": model([node("Resize", ["x", "", "s"], ["y"])], initializers=[numpy_helper.from_array(np.array([1, 1, np.nan, 2], np.float32), "s")]),
        "gather-outside": model([node("Gather", ["x", "i"], ["y"])], initializers=[ints("i", [100])]),
        "scatter-outside": model([node("ScatterND", ["x", "i", "u"], ["y"])], initializers=[ints("i", [[9, 9, 9, 9]]), weight("u", (1,))]),
        "slice-step-zero": model([node("Slice", ["x", "s", "e", "a", "t"], ["y"])], initializers=[ints("s", [0]), ints("e", [1]), ints("a", [0]), ints("t", [0])]),
        "split-wrong": model([node("Split", ["x", "s"], ["y", "z"])], initializers=[ints("s", [5, 5])]),
        "split-negative": model([node("Split", ["x", "s"], ["y", "z"], axis=1)], initializers=[ints("s", [-1, 3])]),
        "concat-unlike": model([node("Concat", ["x", "w"], ["y"], axis=1)], initializers=[weight()]),
        "transpose-twice": model([node("Transpose", ["x"], ["y"], perm=[0, 0, 1, 2])]),
        "axis-outside": model([node("Softmax", ["x"], ["y"], axis=9)]),
        "type-mismatch": model([node("Add", ["x", "i"], ["y"])], initializers=[ints("i", [1])]),
        "cast-to-complex": model([node("Cast", ["x"], ["y"], to=TensorProto.COMPLEX64)]),
        "cast-to-nothing": model([node("Cast", ["x"], ["y"], to=77)]),
        "divide-by-zero": model([node("Div", ["i", "z"], ["y"])], outputs=(("y", TensorProto.INT64, None),), initializers=[ints("i", [1]), ints("z", [0])]),
        "einsum-garbage": model([node("Einsum", ["x"], ["y"], equation="a->->b!")]),
        "matmul-unlike": model([node("MatMul", ["x", "w"], ["y"])], initializers=[weight()]),
        "topk-too-many": model([node("TopK", ["x", "k"], ["y", "z"])], initializers=[ints("k", [1 << 40])]),
        "onehot-huge": model([node("OneHot", ["i", "d", "v"], ["y"])], initializers=[ints("i", [1]), ints("d", [1 << 50]), weight("v", (2,))]),
        "lstm-unlike": model([node("LSTM", ["x", "w", "w"], ["y"], hidden_size=3)], inputs=(("x", F, [1, 2, 4]),), initializers=[weight("w", (1, 5, 4))]),
        "dft-huge": model([node("DFT", ["x", "l"], ["y"], axis=2)], initializers=[ints("l", 1 << 60)]),
        "sequence-input": helper.make_model(helper.make_graph([node("Relu", ["x"], ["y"])], "g", [helper.make_tensor_sequence_value_info("x", F, None)], [helper.make_tensor_value_info("y", F, None)]), ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
        "output-path": model([node("Relu", ["x"], ["../y"])], outputs=(("..", F, None),)),
    }
    body = helper.make_graph(
        [node("Identity", ["c"], ["d"]), node("Add", ["v", "v"], ["u"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("c", TensorProto.BOOL, []), helper.make_tensor_value_info("v", F, None)],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []), helper.make_tensor_value_info("u", F, None)])
    made["loop-without-end"] = model(
        [helper.make_node("Loop", ["m", "", "s"], ["y"], body=body)], initializers=[ints("m", 1 << 62), weight("s", (1,))])
    made["loop-body-inputs"] = model(
        [helper.make_node("Loop", ["m", "", "s", "s"], ["y", "z"], body=body)], initializers=[ints("m", 1), weight("s", (1,))])
    recursive = helper.make_function("local", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], domain="local")], [helper.make_opsetid("local", 1)])
    calls = model([helper.make_node("F", ["x"], ["y"], domain="local")])
    calls.functions.append(recursive)
    calls.opset_import.append(helper.make_opsetid("local", 1))
    made["recursive-function"] = calls
    for name, proto in made.items():
        cases[name] = proto.SerializeToString()
    return cases


def npy(header, data=b"", version=1):
    text = header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def inputs():
    """Damaged inputs for a good model: file name and bytes."""
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
    return {
        "empty.npy": b"",
        "text.npy": b"hello",
        "short.npy": npy(head % "(1, 2, 4, 4)", bytes(10)),
        "long.npy": npy(head % "(1, 2, 4, 4)", bytes(1000)),
        "huge.npy": npy(head % "(1099511627776, 1099511627776)", bytes(16)),
        "negative.npy": npy(head % "(-1, 2, 4, 4)", bytes(16)),
        "object.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(16)),
        "code.npy": npy("{'descr': __import__('os').system('touch hacked'), 'fortran_order': False, 'shape': (1,)}", bytes(16)),
        "rank.npy": npy(head % "(2, 4)", bytes(32)),
        "size.npy": npy(head % "(1, 2, 4, 5)", bytes(160)),
        "type.npy": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2, 4, 4)}", bytes(256)),
        "broken.npz": b"PK\x05\x06" + bytes(10),
        "broken.wav": b"RIFF\xff\xff\xff\xffWAVEfmt ",
        "broken.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x06\x00\x00\x00",
        "broken.jpg": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03",
        "unknown.xyz": b"1234",
        "missing.npy": None,
    }


def pickles(folder):
    """Hostile PyTorch checkpoints."""
    def archive(name, pickle, entries=()):
        with zipfile.ZipFile(folder / name, "w") as zipped:
            zipped.writestr("archive/data.pkl", pickle)
            for key, value in entries:
                zipped.writestr(f"archive/data/{key}", value)

    storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"

    def view(offset, size, stride):
        number = lambda n: b"\x8a\x09" + n.to_bytes(9, "little", signed=True) if abs(n) >= 1 << 62 else b"\x8a\x08" + n.to_bytes(8, "little", signed=True)
        return (b"\x80\x02}X\x01\x00\x00\x00w" + rebuild + b"(" + storage[1:] + number(offset) + number(size) + b"\x85"
                + number(stride) + b"\x85\x89ccollections\nOrderedDict\n)RtRs.")

    archive("system.pt", b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch hacked\x85R.")
    archive("eval.pt", b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.")
    archive("getattr.pt", b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.")
    archive("empty.pt", b"")
    archive("no-stop.pt", b"\x80\x02}")
    archive("pop-empty.pt", b"\x80\x020.")
    archive("memo.pt", b"\x80\x02h\x05.")
    archive("odd-dictionary.pt", b"\x80\x02(K\x01d.")
    archive("deep.pt", b"\x80\x02" + b"]" * 100000 + b"a" * 99999 + b".")
    archive("self.pt", b"\x80\x02]q\x00h\x00a.")
    laughs = b"\x80\x02]q\x00"
    for level in range(40):
        laughs += b"]q" + bytes([level + 1]) + b"(h" + bytes([level]) + b"h" + bytes([level]) + b"e"
    archive("laughs.pt", laughs + b".")
    archive("view-beyond.pt", view(0, 5, 1), [("0", bytes(16))])
    archive("view-offset.pt", view(1 << 40, 1, 1), [("0", bytes(16))])
    archive("view-negative.pt", view(-4, 1, 1), [("0", bytes(16))])
    archive("view-stride.pt", view(0, 3, 1 << 61), [("0", bytes(16))])
    archive("view-huge.pt", view(0, 1 << 61, 0), [("0", bytes(16))])
    archive("storage-missing.pt", view(0, 4, 1))
    (folder / "not-a-zip.pt").write_bytes(b"hello world" * 100)
    with zipfile.ZipFile(folder / "no-pickle.pt", "w") as zipped:
        zipped.writestr("archive/version", "3")
    return sorted(path.name for path in folder.glob("*.pt"))


class Checker:
    def __init__(self, tool, folder):
        self.tool, self.folder = tool, folder
        self.count, self.problems = 0, []
        self.slowest, self.largest, self.verbose = (0, ""), (0, ""), False
        self.continued = 0
        signal.signal(signal.SIGCONT, self.went_on)

    def went_on(self, *_):
        self.continued += 1

    def refused(self, name, arguments, statuses=(1,)):
        """Runs the tool; a case that took too long is run once more on one thread, and its processor time counts then: the
        machine may be busy.

        It is also run again if it was stopped: the tool does not count that time, the clock here does.
        """
        self.count += 1
        attempts = 0
        while attempts < 2:
            continued = self.continued
            before = {path for path in self.folder.rglob("*")}
            start = time.monotonic()
            process = subprocess.Popen(
                [str(self.tool)] + arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(os.environ, **({"TOEPLITZ_NUM_THREADS": "1"} if attempts else {})), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
            killer = threading.Timer(120, process.kill)
            killer.start()
            out, err = process.stdout.read(), process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            killer.cancel()
            seconds = usage.ru_utime + usage.ru_stime if attempts else time.monotonic() - start
            if seconds <= 10:
                break
            attempts += self.continued == continued
        code = os.waitstatus_to_exitcode(status)
        megabytes = usage.ru_maxrss >> 10
        text = err.decode(errors="replace")
        lines = text.splitlines()
        if code not in statuses:
            self.problems.append(f"{name}: status {code}: {text[:200]}{out[:100]}")
        elif len(lines) != 1 or not lines[0].startswith("error:") or len(text) > 100000 or not text.isprintable() and not text[:-1].isprintable():
            self.problems.append(f"{name}: standard error is {text[:300]!r}")
        if seconds > 10:
            self.problems.append(f"{name}: took {seconds:.1f} s")
        if megabytes > 1 << 10:
            self.problems.append(f"{name}: took {megabytes} MB")
        left = {path for path in self.folder.rglob("*")} - before
        if left:
            self.problems.append(f"{name}: wrote {sorted(str(path) for path in left)}")
        self.slowest = max(self.slowest, (seconds, name))
        self.largest = max(self.largest, (megabytes, name))
        if self.verbose:
            print(f"{seconds:6.2f} s {megabytes:5} MB  {name}: {text.strip()[:200]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--tool", type=pathlib.Path, default=root / ".build/release/toeplitz")
    parser.add_argument("--filter", default="", help="only cases whose names hold this")
    parser.add_argument("--verbose", action="store_true", help="list every case")
    parser.add_argument("--keep", type=pathlib.Path, help="also keep the files here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "models"
        folder.mkdir()
        (pathlib.Path(scratch) / "secret.bin").write_bytes(bytes(216))
        (folder / "data.bin").write_bytes(bytes(216))
        os.symlink(pathlib.Path(scratch) / "secret.bin", folder / "link.bin")
        os.symlink("/dev/zero", folder / "device")
        np.save(folder / "x.npy", np.ones((1, 2, 4, 4), np.float32))
        np.save(folder / "x3.npy", np.ones((1, 2, 4), np.float32))
        (folder / "good.onnx").write_bytes(model([conv()], initializers=[weight()]).SerializeToString())
        checker = Checker(arguments.tool.resolve(), folder)
        checker.verbose = arguments.verbose
        everything = models() | hostile_models.endless() | hostile_models.rules()
        for name, (location, entries) in hostile_files.external_traps(folder).items():
            everything[name] = reads(external(location, **entries)).SerializeToString()
        for name, data in everything.items():
            if arguments.filter not in name:
                continue
            (folder / f"{name}.onnx").write_bytes(data)
            x = "x3.npy" if name == "lstm-unlike" else "x.npy"
            command = ["run", f"{name}.onnx", "--input", f"x={x}", "--output-dir", "out"]
            checker.refused(name, command)
        every = inputs() | hostile_files.arrays() | hostile_files.sounds() | hostile_files.pictures()
        for name, data in every.items():
            if arguments.filter not in name:
                continue
            if data is not None:
                (folder / name).write_bytes(data)
            checker.refused(name, ["run", "good.onnx", "--input", f"x={name}", "--output-dir", "out"])
        checker.refused("missing model", ["run", "nowhere.onnx", "--input", "x=x.npy"])
        checker.refused("no input", ["run", "good.onnx"])
        checker.refused("unknown input", ["run", "good.onnx", "--input", "q=x.npy"])
        checker.refused("folder as model", ["run", ".", "--input", "x=x.npy"])
        for name, data in hostile_files.checkpoints().items():
            (folder / name).write_bytes(data)
        for name in pickles(folder) + sorted(path.name for path in folder.glob("*.safetensors")):
            if arguments.filter not in name:
                continue
            checker.refused(name, ["convert", name, "out.safetensors"])
        if (folder / "hacked").exists():
            checker.problems.append("code of a file was run")
        if arguments.keep:
            shutil.copytree(folder, arguments.keep, symlinks=True, dirs_exist_ok=True)
    print("\n".join(checker.problems))
    print(
        f"{checker.count} cases, {len(checker.problems)} problems; the slowest {checker.slowest[0]:.1f} s "
        f"({checker.slowest[1]}), the largest {checker.largest[0]} MB ({checker.largest[1]})")
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
