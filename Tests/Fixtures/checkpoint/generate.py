"""Writes the files in this directory with the reference libraries: python3 generate.py

Needs numpy 2 and safetensors. Every array holds what `values` computes, so that the Swift tests can compute
the same numbers: element i of n is (i * 7 + 3) % 251 - 100, or that above 0 for unsigned types, or i % 3 == 0
for booleans. The files are committed; the same versions of the libraries write the same bytes.
"""

import io
import pathlib
import struct
import zipfile

import numpy as np
import safetensors.numpy

HERE = pathlib.Path(__file__).parent


def values(dtype, shape):
    index = np.arange(int(np.prod(shape)), dtype=np.int64)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        flat = index % 3 == 0
    elif dtype.kind == "u":
        flat = (index * 7 + 3) % 251
    else:
        flat = (index * 7 + 3) % 251 - 100
        if dtype.itemsize == 1:
            flat = flat // 2
    return flat.reshape(shape).astype(dtype)


def npy_bytes(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version)
    return out.getvalue()


def write_npy():
    for name in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1"]:
        np.save(HERE / f"little-{name}.npy", values("<" + name, (2, 3, 4)))
    for name in ["f2", "f4", "f8", "i2", "i4", "i8", "u2", "u4"]:
        np.save(HERE / f"big-{name}.npy", values(">" + name, (2, 3, 4)))
    np.save(HERE / "fortran.npy", np.asfortranarray(values("<f4", (3, 4, 5))))
    np.save(HERE / "fortran-big.npy", np.asfortranarray(values(">i4", (3, 4))))
    np.save(HERE / "scalar.npy", values("<f8", ()))
    np.save(HERE / "vector.npy", values("<f4", (5,)))
    np.save(HERE / "empty.npy", values("<f4", (3, 0, 2)))
    for version in [(2, 0), (3, 0)]:
        (HERE / f"version{version[0]}.npy").write_bytes(npy_bytes(values("<f4", (2, 3)), version))
    np.save(HERE / "refused-c8.npy", values("<c8", (3,)))
    np.save(HERE / "refused-object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(HERE / "refused-structure.npy", np.zeros(2, dtype=[("a", "<f4"), ("b", "<i4")]))


def write_npz():
    arrays = {
        "conv.weight": values("<f4", (8, 4, 3)),
        "conv.bias": values("<f8", (8,)),
        "mask": values("b1", (5, 5)),
        "fortran": np.asfortranarray(values("<i4", (6, 7))),
        "big": values(">i8", (4,)),
        "scalar": values("<f2", ()),
    }
    np.savez(HERE / "stored.npz", **arrays)
    np.savez_compressed(HERE / "compressed.npz", **arrays)
    # The three block types of DEFLATE: stored (level 0), fixed codes (tiny input) and several dynamic blocks.
    random = np.random.default_rng(7)
    entries = {
        "stored-blocks": (values("<f4", (300,)), 0),
        "fixed-codes": (values("u1", (1,)), 9),
        "dynamic": (np.cumsum(random.integers(0, 9, 40000)).astype("<i4") % 251, 9),
        "fast": (np.arange(20000, dtype="<i4") // 7, 1),
        "zeros": (np.zeros(1_000_000, dtype="<f4"), 9),
    }
    with zipfile.ZipFile(HERE / "blocks.npz", "w") as archive:
        for name, (array, level) in entries.items():
            info = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, npy_bytes(array), compresslevel=level)
    # The sum of the random walk, which the tests compare with.
    np.save(HERE / "blocks-dynamic-sum.npy", np.array(int(entries["dynamic"][0].sum()), dtype="<i8"))
    # A stream without a known size in the local header (bit 3), and a comment behind the archive.
    out = io.BytesIO()

    class Unseekable(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            return out.write(data)

    with zipfile.ZipFile(Unseekable(), "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("streamed.npy", (1980, 1, 1, 0, 0, 0))
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, npy_bytes(values("<f4", (10,))))
        archive.comment = b"a comment"
    (HERE / "streamed.npz").write_bytes(out.getvalue())


    # Members that no tensor can hold beside one that can.
    np.savez(
        HERE / "members.npz", x=values("<f4", (2,)), bytes=np.array([b"ab"]), complex=values("<c8", (2,)),
        dates=np.array(["2020-01-02"], dtype="<M8[D]"), objects=np.array([{}], dtype=object),
        structure=np.zeros(1, dtype=[("a", "<f4")]))
    with zipfile.ZipFile(HERE / "members.npz", "a") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt", (1980, 1, 1, 0, 0, 0)), b"text")


def write_safetensors():
    names = {
        "F32": "<f4", "F64": "<f8", "F16": "<f2", "I8": "i1", "U8": "u1", "I32": "<i4", "I64": "<i8",
        "BOOL": "b1",
    }
    tensors = {f"group.{name}": values(dtype, (2, 3, 4)) for name, dtype in names.items()}
    tensors["scalar"] = values("<f4", ())
    tensors["empty"] = values("<f4", (0, 3))
    tensors['quoted "name" \\ é'] = values("<f4", (2,))
    safetensors.numpy.save_file(tensors, HERE / "reference.safetensors", {"note": "a\nb"})
    header = b'{"x":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    (HERE / "refused-c64.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    # The NumPy interface has no bfloat16, so this header is put together by hand: 1, -2, infinity, NaN.
    header = b'{"x":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    data = struct.pack("<4H", 0x3F80, 0xC000, 0x7F80, 0x7FC1)
    (HERE / "bfloat16.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)


if __name__ == "__main__":
    write_npy()
    write_npz()
    write_safetensors()
