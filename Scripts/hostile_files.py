"""Hostile inputs and checkpoints for onnx-malformed.py: archives, sound, pictures, pickles, safetensors."""

import io
import json
import os
import struct
import zipfile
import zlib

HEAD = "{'descr': '%s', 'fortran_order': %s, 'shape': %s}"


def npy(descr="<f4", order="False", shape="(1, 2, 4, 4)", data=b"", header=None):
    text = (header if header is not None else HEAD % (descr, order, shape)).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def archive(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, compresslevel=9) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
    return out.getvalue()


def arrays():
    plain = archive([("x.npy", npy(data=bytes(128)))])
    stored = archive([("x.npy", npy(data=bytes(128)))], zipfile.ZIP_STORED)
    central = stored.rfind(b"PK\x01\x02")
    end = stored.rfind(b"PK\x05\x06")
    huge = (b"PK\x01\x02" + stored[central + 4 : central + 20] + b"\xff\xff\xff\x7f" * 2 + stored[central + 28 :])
    zeros = bytes(64 << 20)
    return {
        "bomb.npz": archive([("x.npy", npy(shape="(1, 2, 4096, 2048)", data=zeros))]),
        "bomb-many.npz": archive([(f"{i}.npy", npy(shape="(16777216,)", data=zeros)) for i in range(24)] + [("x.npy", npy(data=bytes(8)))]),
        "bomb-header.npz": archive([("x.npy", npy(header=" " * 65000 + "{") + zeros)]),
        "claims.npz": stored[:central] + huge,
        "no-members.npz": archive([]),
        "other-members.npz": archive([("a.npy", npy(data=bytes(128))), ("b.npy", npy(data=bytes(128)))]),
        "text-member.npz": archive([("x.npy", b"hello")]),
        "path-member.npz": archive([("../../x.npy", npy(data=bytes(12)))]),
        "flipped.npz": stored[:60] + bytes([stored[60] ^ 1]) + stored[61:-1],
        "checksum.npz": stored[: central - 4] + b"\x55\x55\x55\x55" + stored[central:],
        "count.npz": stored[: end + 8] + b"\xff\xff\xff\xff" + stored[end + 12 :],
        "offset.npz": stored[: end + 16] + b"\xff\xff\xff\xff" + stored[end + 20 :],
        "cut.npz": plain[: len(plain) // 2],
        "version.npy": b"\x93NUMPY\x09\x00" + npy()[8:],
        "header-length.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        "nested.npy": npy(header="(" * 60000),
        "overflow.npy": npy(shape="(4294967296, 4294967296, 4294967296)"),
        "zero-overflow.npy": npy(shape="(0, 9223372036854775807, 9223372036854775807)"),
        "digits.npy": npy(shape="(" + "9" * 5000 + ",)"),
        "dimensions.npy": npy(shape="(" + "1," * 9000 + ")", data=bytes(4)),
        "record.npy": npy(header="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (32,)}", data=bytes(128)),
        "twice.npy": npy(header="{'descr': '<f4', 'descr': '|O', 'fortran_order': False, 'shape': (32,)}", data=bytes(128)),
        "complex.npy": npy(descr="<c8", data=bytes(256)),
        "void.npy": npy(descr="|V999999999999", data=bytes(256)),
        "boolean.npy": npy(descr="|b1", data=b"\x07" * 32),
    }


def chunk(name, data, size=None):
    return name + struct.pack("<I", len(data) if size is None else size) + data


def wave(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def form(tag=1, channels=1, rate=8000, align=2, bits=16):
    return struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align, bits)


def sounds():
    data = chunk(b"data", bytes(64))
    return {
        "riff-only.wav": b"RIFF",
        "no-form.wav": wave(data),
        "form-late.wav": wave(data, chunk(b"fmt ", form())),
        "form-short.wav": wave(chunk(b"fmt ", form()[:8]), data),
        "no-data.wav": wave(chunk(b"fmt ", form())),
        "channels-none.wav": wave(chunk(b"fmt ", form(channels=0)), data),
        "channels-many.wav": wave(chunk(b"fmt ", form(channels=65535)), data),
        "bits-none.wav": wave(chunk(b"fmt ", form(bits=0)), data),
        "bits-odd.wav": wave(chunk(b"fmt ", form(bits=13)), data),
        "align-none.wav": wave(chunk(b"fmt ", form(align=0)), data),
        "rate-none.wav": wave(chunk(b"fmt ", form(rate=0)), data),
        "codec.wav": wave(chunk(b"fmt ", form(tag=85)), data),
        "extensible-short.wav": wave(chunk(b"fmt ", form(tag=0xFFFE)), data),
        "sizes-odd.wav": wave(chunk(b"LIST", b"abc", 0xFFFFFFFF), chunk(b"fmt ", form()), data),
        "chunks-empty.wav": wave(*[chunk(b"junk", b"")] * 100000),
    }


def png(width, height, depth, kind, data, extra=b"", interlace=0):
    def part(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + extra + part(b"IDAT", data) + part(b"IEND", b"")


def pictures():
    zeros = zlib.compress(bytes(64 << 20), 9)
    return {
        "bomb.png": png(60000, 60000, 8, 2, zeros),
        "bomb-rows.png": png(1, 64 << 20, 1, 0, zeros),
        "long-data.png": png(2, 2, 8, 2, zeros),
        "short-data.png": png(100, 100, 8, 2, zlib.compress(bytes(10))),
        "no-width.png": png(0, 4, 8, 2, zeros[:100]),
        "depth.png": png(4, 4, 7, 2, zeros[:100]),
        "kind.png": png(4, 4, 8, 5, zeros[:100]),
        "no-palette.png": png(4, 4, 8, 3, zlib.compress(bytes(20))),
        "filter.png": png(4, 4, 8, 0, zlib.compress(b"\x09" * 20)),
        "not-zlib.png": png(4, 4, 8, 0, b"\xff" * 20),
        "interlace.png": png(1, 1, 8, 0, zlib.compress(b""), interlace=9),
        "chunk-length.png": b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20),
        "huge.jpg": b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00" + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(64) + b"\xff\xd9",
        "tables.jpg": b"\xff\xd8" + b"\xff\xc4\x00\x13\x00" + b"\xff" * 16 + b"\xff\xd9",
        "lengths.jpg": b"\xff\xd8" + b"\xff\xe0\x00\x00" * 10,
        "markers.jpg": b"\xff\xd8" + b"\xff" * 100000,
    }


def checkpoints():
    """Files for `convert`: pickles in archives, and safetensors."""
    start = b"\x80\x02"

    def pt(pickle, *entries):
        return archive([("archive/data.pkl", pickle), *[(f"archive/data/{key}", data) for key, data in entries]])

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value

    def tensors(header, data=bytes(64)):
        body = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(body)) + body + data

    def entry(dtype="F32", shape=(4,), offsets=(0, 16)):
        return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}

    def view(kind, key, sizes, strides):
        numbers = lambda values: b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"
        return (
            b"(" + text(b"storage") + b"ctorch\n" + kind + b"\n" + text(key) + text(b"cpu") + b"K\x08tQK\x00"
            + numbers(sizes) + numbers(strides))

    def sparse(axes, *sizes):
        """A sparse matrix of one value, or of more values than there are, on no axis."""
        rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
        count = 1 if axes else sizes[0]
        return (
            b"ctorch._utils\n_rebuild_sparse_tensor\n(" + text(b"torch.sparse_coo") + b"("
            + rebuild + view(b"LongStorage", b"0", [axes, count], [1, 1]) + b"\x89NtR"
            + rebuild + view(b"FloatStorage", b"0", [count], [0]) + b"\x89NtR("
            + b"".join(b"\x8a\x08" + struct.pack("<q", size) for size in sizes) + b"tttR")

    def codes(count):
        return (
            b"ctorch._utils\n_rebuild_qtensor\n(" + view(b"QInt8Storage", b"0", [count], [0])
            + b"(ctorch\nper_tensor_affine\nG?\xf0\x00\x00\x00\x00\x00\x00K\x00t\x89NtR")

    def old_checkpoints():
        """The format before PyTorch 1.6."""
        begin = start + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + start + b"M\xe9\x03." + start + b"}."
        value = start + b"}" + text(b"w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + view(b"FloatStorage", b"0", [2], [1])
        value += b"\x89NtRs."
        keys = start + b"]" + text(b"0") + b"a."
        return {
            "old-begin.pt": begin,
            "old-keys.pt": begin + value + start + b"N.",
            "old-storage.pt": begin + value + keys,
            "old-count.pt": begin + value + keys + struct.pack("<q", 1 << 61) + bytes(8),
            "old-negative.pt": begin + value + keys + struct.pack("<q", -1) + bytes(8),
            "old-short.pt": begin + value + keys + struct.pack("<q", 1) + bytes(4),
            "old-missing.pt": begin + value + start + b"].",
            "old-many.pt": begin + value + start + b"](" + (text(b"0") + b"q\x00") + b"h\x00" * 1000000 + b"e."
            + bytes(8000000),
            "old-version.pt": begin[:16] + start + b"M\xe8\x03." + value,
            "old-tar.pt": bytes(257) + b"ustar\x0000" + bytes(400),
        }

    ordered = b"ccollections\nOrderedDict\n)R"
    return {
        "memo-far.pt": pt(start + b"}r\xff\xff\xff\xff."),
        "memo-many.pt": pt(start + b"}" + b"".join(b"r" + struct.pack("<I", i * 4096) for i in range(200000)) + b"."),
        "bytes-long.pt": pt(b"\x80\x05\x8e" + b"\xff" * 7 + b"\x7f."),
        "text-long.pt": pt(b"\x80\x05\x8d" + b"\xff" * 8 + b"."),
        "text-claim.pt": pt(start + b"X\xff\xff\xff\x7fab."),
        "number-long.pt": pt(start + b"\x8b\xff\xff\xff\x7f\x00."),
        "number-negative.pt": pt(start + b"\x8b\xff\xff\xff\xff\x00."),
        "frame.pt": pt(b"\x80\x04\x95" + b"\xff" * 8 + b"}."),
        "marks.pt": pt(start + b"(" * 2000000 + b"."),
        "nones.pt": pt(start + b"(" + b"N" * 30000000 + b"l."),
        "tuples.pt": pt(start + b")" + b"\x85" * 1000000 + b"."),
        "dictionaries.pt": pt(start + b"}" * 1000000 + b"."),
        "doubling.pt": pt(start + text(b"a") + b"".join(b"q\x00(h\x00h\x00t" for _ in range(60)) + b"."),
        "bomb.pt": archive([("archive/data.pkl", start + b"N0" * (150 << 20) + b"}.")]),
        "inst.pt": pt(b"(S'touch hacked'\nios\nsystem\n."),
        "obj.pt": pt(b"(cos\nsystem\nS'touch hacked'\no."),
        "newobj.pt": pt(b"\x80\x02cos\nsystem\n)\x81."),
        "build.pt": pt(start + ordered + b"}X\x01\x00\x00\x00aK\x01sb."),
        "extension.pt": pt(start + b"\x82\x01."),
        "buffer.pt": pt(b"\x80\x05\x97."),
        "protocol.pt": pt(b"\x80\xff}."),
        "rebuild-empty.pt": pt(start + b"}" + text(b"w") + b"ctorch._utils\n_rebuild_tensor_v2\n)Rs."),
        "rebuild-odd.pt": pt(start + b"}" + text(b"w") + b"ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtRs."),
        "rebuild-self.pt": pt(start + b"}q\x00" + text(b"w") + b"ctorch._utils\n_rebuild_parameter\n(h\x00NNtRs."),
        "persistent.pt": pt(start + b"NQ."),
        "persistent-text.pt": pt(b"Pboom\n."),
        "name.pt": pt(start + b"ctorch._utils\n" + b"x" * 5000000 + b"\n."),
        "two-pickles.pt": archive([("a/data.pkl", b"}."), ("b/data.pkl", b"}.")]),
        **old_checkpoints(),
        "sparse-huge.pt": pt(start + b"}" + text(b"w") + sparse(2, 1 << 40, 1 << 20) + b"s.", ("0", bytes(64))),
        "sparse-none.pt": pt(start + b"}" + text(b"w") + sparse(0, 1 << 60, 4) + b"s.", ("0", bytes(64))),
        "codes-expanded.pt": pt(start + b"}" + text(b"w") + codes(1 << 40) + b"s.", ("0", bytes(64))),
        "keys-long.pt": pt(start + b"}(" + text(b"k" * 1000000) + b"q\x00N" + b"h\x00N" * 500000 + b"u."),
        "names-long.pt": pt(
            start + text(b"k" * 1000000) + b"q\x00K\x01" + b"q\x01}(h\x00h\x01uq\x01" * 60 + b"(h\x01" + b"h\x01" * 100000
            + b"l."),
        "objects-deep.pt": pt(
            start + b"ca\nb\nq\x00N" + b"q\x01h\x00)\x81h\x01bq\x01" * 400000 + b"."),
        "rebuild-nested.pt": pt(
            start + b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00N" + b"q\x01h\x00(h\x00Nh\x01NtR" * 3 + b"."),
        "new-nested.pt": pt(start + b"ccopyreg\n__newobj__\nq\x00(" + b"h\x00" * 1000000 + b"tR."),
        "empty.safetensors": b"",
        "length.safetensors": b"\xff" * 8 + b"{}",
        "not-json.safetensors": tensors(b"hello"),
        "deep.safetensors": tensors(b"[" * 5000000),
        "deep-object.safetensors": tensors(b'{"a":' * 1000000),
        "array.safetensors": tensors(b"[]"),
        "utf8.safetensors": tensors(b'{"\xff\xfe": 1}'),
        "twice.safetensors": tensors(b'{"a":%s,"a":%s}' % ((json.dumps(entry()).encode(),) * 2), bytes(16)),
        "overlap.safetensors": tensors({"a": entry(), "b": entry(offsets=(8, 24))}, bytes(24)),
        "same.safetensors": tensors({"a": entry(), "b": entry()}, bytes(16)),
        "hole.safetensors": tensors({"a": entry(), "b": entry(offsets=(32, 48))}, bytes(48)),
        "beyond.safetensors": tensors({"a": entry(offsets=(0, 1 << 62))}),
        "reversed.safetensors": tensors({"a": entry(offsets=(16, 0))}, bytes(16)),
        "negative.safetensors": tensors({"a": entry(offsets=(-16, 0))}, bytes(16)),
        "shape-negative.safetensors": tensors({"a": entry(shape=(-4,))}, bytes(16)),
        "shape-overflow.safetensors": tensors({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(16)),
        "shape-zero-overflow.safetensors": tensors({"a": entry(shape=(0, 1 << 62, 1 << 62), offsets=(0, 0))}, b""),
        "shape-float.safetensors": tensors({"a": entry(shape=(4.5,))}, bytes(16)),
        "shape-number.safetensors": tensors(b'{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,16]}}', bytes(16)),
        "bytes.safetensors": tensors({"a": entry(offsets=(0, 15))}, bytes(15)),
        "type.safetensors": tensors({"a": entry(dtype="F99")}, bytes(16)),
        "fields.safetensors": tensors({"a": {}}, bytes(16)),
        "trailing.safetensors": tensors({"a": entry()}, bytes(64)),
        "boolean.safetensors": tensors({"a": entry(dtype="BOOL", offsets=(0, 4))}, b"\x00\x01\x02\x03"),
    }


def external_traps(folder):
    """Makes what hostile paths of external data point to; gives the paths."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.bin").write_bytes(bytes(216))
    os.symlink(outside, folder / "linked")
    os.symlink("loop", folder / "loop")
    os.mkfifo(folder / "fifo")
    return {
        "external-linked-folder": ("linked/secret.bin", {}),
        "external-loop": ("loop", {}),
        "external-fifo": ("fifo", {}),
        "external-dot-dot-inside": ("sub/../data.bin", {}),
        "external-backslash": ("..\\secret.bin", {}),
        "external-nul": ("data.bin\0x", {}),
        "external-long": ("a" * 100000, {}),
        "external-overflow": ("data.bin", {"offset": (1 << 63) - 1, "length": 216}),
        "external-beyond-64-bits": ("data.bin", {"offset": 1 << 70}),
        "external-plus": ("data.bin", {"offset": "+0x10"}),
        "external-length-negative": ("data.bin", {"length": -216}),
        "external-length-huge": ("data.bin", {"length": 1 << 62}),
    }
