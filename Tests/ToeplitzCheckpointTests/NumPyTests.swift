import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

@Suite struct NumPyTests {
  private static let storable = DType.allCases.filter { $0 != .bfloat16 && !$0.isNarrow }

  @Test(arguments: storable)
  func roundTripKeepsEveryBit(_ dtype: DType) throws {
    let tensor = try Tensor.sample(dtype)
    try withDirectory { directory in
      try NumPy.write(tensor, to: directory + "/a.npy")
      try NumPy.read(contentsOf: directory + "/a.npy").expectSame(as: tensor)
      #expect(try readFile(directory + "/a.npy").count == 128 + 15 * dtype.byteSize)
      try NumPy.writeArchive(["x.y": tensor], to: directory + "/a.npz")
      try NumPy.readArchive(contentsOf: directory + "/a.npz").tensor("x.y").expectSame(as: tensor)
    }
  }

  @Test(arguments: [[], [0], [1], [7], [2, 0, 3], [1, 1], [2, 3, 4, 5], [Int](repeating: 1, count: 64)])
  func roundTripKeepsShapes(_ sizes: [Int]) throws {
    let tensor = try Tensor.full(TensorShape(sizes), 3)
    try withDirectory { directory in
      try NumPy.write(tensor, to: directory + "/a.npy")
      try NumPy.read(contentsOf: directory + "/a.npy").expectSame(as: tensor)
    }
  }

  @Test func writesTheBytesOfNumPy() throws {
    for (name, tensor) in [
      ("vector", try Tensor(fixtureValues(5).map(Float.init))),
      ("scalar", try Tensor(scalar: Double(-97))),
      ("empty", try Tensor.zeros([3, 0, 2])),
    ] {
      try withDirectory { directory in
        try NumPy.write(tensor, to: directory + "/a.npy")
        #expect(try readFile(directory + "/a.npy") == readFile(fixture("\(name).npy")))
      }
    }
  }

  @Test(arguments: [
    ("f2", DType.float16), ("f4", .float32), ("f8", .float64), ("i1", .int8), ("i2", .int16), ("i4", .int32),
    ("i8", .int64), ("u1", .uint8), ("u2", .uint16), ("u4", .uint32), ("b1", .bool),
  ])
  func readsEveryTypeOfNumPy(_ name: String, _ dtype: DType) throws {
    let expected =
      dtype == .bool
      ? (0..<24).map { $0 % 3 == 0 ? 1 : 0 }
      : fixtureValues(24, isUnsigned: name.hasPrefix("u"), isByte: name == "i1")
    for order in ["little", "big"] where order == "little" || dtype.byteSize > 1 {
      let tensor = try NumPy.read(contentsOf: fixture("\(order)-\(name).npy"))
      #expect(tensor.spec == TensorSpec([2, 3, 4], dtype))
      #expect(try tensor.doubles() == expected)
    }
  }

  @Test func readsUnsignedTypes() throws {
    func read(_ descr: String, _ data: [UInt8]) throws -> [Double] {
      let bytes = npy("{'descr': '\(descr)', 'fortran_order': False, 'shape': (2,)}", data)
      let block = Block(bytes)
      return try NumPy.decode(block.bytes, owner: nil, FilePlace(file: "test")).doubles()
    }
    #expect(try read("<u2", [0xFF, 0xFF, 1, 0]) == [65535, 1])
    #expect(try read(">u2", [0xFF, 0xFE, 0, 1]) == [65534, 1])
    #expect(try read("<i2", [0xFF, 0xFF, 0, 0x80]) == [-1, -32768])
    #expect(try read(">u4", [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1]) == [4_294_967_295, 1])
    #expect(try read("<u8", [0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0, 0, 0, 0, 0, 0, 0]) == [0x1p63, 1])
  }

  @Test func readsFortranOrder() throws {
    let tensor = try NumPy.read(contentsOf: fixture("fortran.npy"))
    #expect(tensor.shape == [3, 4, 5] && tensor.isContiguous)
    #expect(try tensor.doubles() == fixtureValues(60))
    let big = try NumPy.read(contentsOf: fixture("fortran-big.npy"))
    #expect(try big.scalars(Int32.self).map(Double.init) == fixtureValues(12))
  }

  @Test func readsAllVersionsAndSpecialShapes() throws {
    for version in [2, 3] {
      let tensor = try NumPy.read(contentsOf: fixture("version\(version).npy"))
      #expect(tensor.shape == [2, 3])
      #expect(try tensor.doubles() == fixtureValues(6))
    }
    #expect(try NumPy.read(contentsOf: fixture("scalar.npy")).item(Double.self) == -97)
    #expect(try NumPy.read(contentsOf: fixture("empty.npy")).shape == [3, 0, 2])
    // As Python 2 wrote it, with other quotes and blanks.
    let block = Block(npy("{\"shape\":(2L,),'fortran_order' : True,\n'descr':'|u1'}", [1, 2]))
    let old = try NumPy.decode(block.bytes, owner: nil, FilePlace(file: "test"))
    #expect(try old.scalars(UInt8.self) == [1, 2])
  }

  @Test(arguments: ["c8", "object", "structure"])
  func refusesOtherTypes(_ name: String) {
    let error = #expect(throws: ToeplitzError.self) {
      try NumPy.read(contentsOf: fixture("refused-\(name).npy"))
    }
    #expect(error?.kind == .unsupported)
  }

  @Test func writerRefusesWhatTheFormatCannotHold() throws {
    try withDirectory { directory in
      let half = try Tensor.sample(.bfloat16)
      let npy = #expect(throws: ToeplitzError.self) { try NumPy.write(half, to: directory + "/a.npy") }
      #expect(npy?.kind == .dtype)
      let tensors = ["a": try Tensor([1]), "b": half]
      let npz = #expect(throws: ToeplitzError.self) {
        try NumPy.writeArchive(tensors, to: directory + "/a.npz")
      }
      #expect(npz?.path == "b")
      let name = String(repeating: "n", count: 70000)
      #expect(throws: ToeplitzError.self) {
        try NumPy.writeArchive([name: Tensor([1])], to: directory + "/a.npz")
      }
      let deep = try Tensor([1], shape: TensorShape([Int](repeating: 1, count: 65)))
      #expect(throws: ToeplitzError.self) { try NumPy.write(deep, to: directory + "/a.npy") }
      let left = try fileNames(directory)
      #expect(left.isEmpty)
    }
  }

  // MARK: - Archives

  @Test(arguments: ["stored.npz", "compressed.npz"])
  func readsArchivesOfNumPy(_ file: String) throws {
    let archive = try Checkpoint(contentsOf: fixture(file))
    #expect(archive.names == ["big", "conv.bias", "conv.weight", "fortran", "mask", "scalar"])
    let layer = archive.inside("conv")
    #expect(try layer.tensor("weight", shape: [8, 4, 3]).doubles() == fixtureValues(96))
    #expect(try layer.tensor("bias", shape: [8]).scalars(Double.self) == fixtureValues(8))
    #expect(try archive.tensor("fortran", shape: [6, 7]).doubles() == fixtureValues(42))
    #expect(try archive.tensor("big").scalars(Int64.self).map(Double.init) == fixtureValues(4))
    #expect(try archive.tensor("mask").scalars(Bool.self) == (0..<25).map { $0 % 3 == 0 })
    #expect(try archive.tensor("scalar", shape: []).item(Float16.self) == -97)
  }

  @Test func readsEveryBlockType() throws {
    let archive = try NumPy.readArchive(contentsOf: fixture("blocks.npz"))
    #expect(try archive.tensor("stored-blocks").doubles() == fixtureValues(300))
    #expect(try archive.tensor("fixed-codes").scalars(UInt8.self) == [3])
    let dynamic = try archive.tensor("dynamic", shape: [40000]).scalars(Int32.self)
    let sum = try NumPy.read(contentsOf: fixture("blocks-dynamic-sum.npy")).item(Int64.self)
    #expect(dynamic.reduce(0) { $0 + Int64($1) } == sum)
    #expect(try archive.tensor("fast").scalars(Int32.self) == (0..<20000).map { $0 / 7 })
    #expect(try archive.tensor("zeros", shape: [1_000_000]).scalars(Float.self).allSatisfy { $0 == 0 })
    let streamed = try NumPy.readArchive(contentsOf: fixture("streamed.npz"))
    #expect(try streamed.tensor("streamed").doubles() == fixtureValues(10))
  }

  @Test func boundsTheUnpackedSize() throws {
    // blocks.npz is 53 kB and unpacks to more than 4 MB.
    let error = #expect(throws: ToeplitzError.self) {
      try NumPy.readArchive(contentsOf: fixture("blocks.npz"), maximumBytes: 1_000_000)
    }
    #expect(error?.kind == .memory && error?.path == "zeros.npy")
  }

  @Test func archivesAreReproducible() throws {
    var tensors: [String: Tensor] = [:]
    for dtype in Self.storable { tensors["\(dtype)/é"] = try .sample(dtype) }
    try withDirectory { directory in
      for path in ["/a.npz", "/b.npz"] { try NumPy.writeArchive(tensors, to: directory + path) }
      #expect(try readFile(directory + "/a.npz") == readFile(directory + "/b.npz"))
      let read = try NumPy.readArchive(contentsOf: directory + "/a.npz")
      #expect(Set(read.names) == Set(tensors.keys))
      try NumPy.writeArchive([:], to: directory + "/none.npz")
      #expect(try NumPy.readArchive(contentsOf: directory + "/none.npz").names.isEmpty)
    }
  }

  @Test func largeArchivesUseZip64() throws {
    try withDirectory { directory in
      let path = directory + "/large.npz"
      let place = FilePlace(file: path)
      let tensors = [try Tensor.sample(.float32), try Tensor.sample(.int64)]
      try AtomicFile.write(to: path) { file in
        // As if 200 bytes were 4 GiB: the first entry has large sizes, the second also a large offset.
        var archive = ZipWriter(place, large: 150)
        for (index, tensor) in tensors.enumerated() {
          let header = try NumPyHeader.bytes(for: tensor, place)
          try header.withUnsafeBytes { header in
            try tensor.withBytes { try archive.add("t\(index).npy", [header, $0], to: file) }
          }
        }
        try archive.finish(file)
      }
      let read = try NumPy.readArchive(contentsOf: path)
      for (index, tensor) in tensors.enumerated() { try read.tensor("t\(index)").expectSame(as: tensor) }
    }
  }

  @Test func manyEntriesUseZip64() throws {
    try withDirectory { directory in
      let path = directory + "/many.zip"
      try AtomicFile.write(to: path) { file in
        var archive = ZipWriter(FilePlace(file: path))
        for index in 0..<65540 { try archive.add("\(index)", [], to: file) }
        try archive.finish(file)
      }
      let file = try MappedFile(path: path)
      let archive = try ZipArchive(file.bytes, FilePlace(file: path))
      #expect(archive.entries.count == 65540)
      #expect(archive.entries.last?.name == "65539")
    }
  }
}

/// The bytes of a `.npy` file of version 1.0 with this header and data.
func npy(_ header: String, _ data: [UInt8] = [], version: [UInt8] = [1, 0]) -> [UInt8] {
  var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + version
  if version[0] == 1 {
    bytes.append(littleEndian: UInt16(header.utf8.count))
  } else {
    bytes.append(littleEndian: UInt32(header.utf8.count))
  }
  return bytes + header.utf8 + data
}
