import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

@Suite struct SafetensorsTests {
  @Test(arguments: DType.allCases.filter { $0.safetensorsName != nil })
  func roundTripKeepsEveryBit(_ dtype: DType) throws {
    let tensor = try Tensor.sample(dtype)
    try withDirectory { directory in
      let path = directory + "/one.safetensors"
      try Safetensors.write(["a.b": tensor], to: path)
      let checkpoint = try Safetensors.read(contentsOf: path)
      #expect(checkpoint.names == ["a.b"])
      #expect(checkpoint.source == path)
      try checkpoint.tensor("a.b", shape: [3, 5]).expectSame(as: tensor)
    }
  }

  @Test func roundTripOfManyWithMetadata() throws {
    var tensors: [String: Tensor] = [:]
    for dtype in DType.allCases where dtype.safetensorsName != nil { tensors["part.\(dtype)"] = try .sample(dtype) }
    tensors["scalar"] = try Tensor(scalar: Float(2.5))
    tensors["empty"] = try .zeros([0, 4])
    tensors["é \"\\\n\u{1}🎈"] = try Tensor([1, 2, 3])
    let metadata = ["format": "pt", "text": "a\nb\t\"\u{7}\"", "": ""]
    try withDirectory { directory in
      let path = directory + "/many.safetensors"
      try Safetensors.write(tensors, metadata: metadata, to: path)
      let first = try readFile(path)
      let checkpoint = try Safetensors.read(contentsOf: path)
      #expect(checkpoint.metadata == metadata)
      #expect(Set(checkpoint.names) == Set(tensors.keys))
      for (name, tensor) in tensors { try checkpoint.tensor(name).expectSame(as: tensor) }
      // Writing over the file that the tensors are mapped from must not disturb them.
      try Safetensors.write(checkpoint.tensors, metadata: checkpoint.metadata, to: path)
      #expect(try readFile(path) == first)
      for (name, tensor) in tensors { try checkpoint.tensor(name).expectSame(as: tensor) }
    }
  }

  @Test func alignedTensorsBorrowTheMapping() throws {
    try withDirectory { directory in
      let path = directory + "/a.safetensors"
      try Safetensors.write(["x": .sample(.float32), "flag": .sample(.bool)], to: path)
      let checkpoint = try Safetensors.read(contentsOf: path)
      #expect(try checkpoint.tensor("x").storage.isBorrowed)
      #expect(try !checkpoint.tensor("flag").storage.isBorrowed)
      // A borrowed tensor is copied before it is written.
      var changed = try checkpoint.tensor("x")
      try changed.withMutableElements(Float.self) { $0[0] = 42 }
      #expect(try checkpoint.tensor("x").scalars(Float.self)[0] == 1)
    }
  }

  @Test func misalignedTensorsAreCopied() throws {
    let header =
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}"#
    var data: [UInt8] = [9]
    for value in [1.5 as Float, -2] { data.append(littleEndian: value.bitPattern) }
    let block = Block(safetensors(header, data))
    let checkpoint = try Safetensors.decode(block.bytes, owner: block, source: "test")
    #expect(try !checkpoint.tensor("b").storage.isBorrowed)
    #expect(try checkpoint.tensor("b").scalars(Float.self) == [1.5, -2])
  }

  @Test func stridedTensorsAreWrittenInOrder() throws {
    let tensor = try Tensor([1, 2, 3, 4, 5, 6], shape: [2, 3])
    let transposed = tensor.view(shape: [3, 2], strides: [1, 3], offset: 0)
    try withDirectory { directory in
      try Safetensors.write(["t": transposed], to: directory + "/t.safetensors")
      let read = try Safetensors.read(contentsOf: directory + "/t.safetensors")
      #expect(try read.tensor("t", shape: [3, 2]).scalars(Float.self) == [1, 4, 2, 5, 3, 6])
    }
  }

  @Test func readsTheReferenceImplementation() throws {
    let checkpoint = try Checkpoint(contentsOf: fixture("reference.safetensors"))
    #expect(checkpoint.metadata == ["note": "a\nb"])
    let group = checkpoint.inside("group")
    #expect(group.names == ["BOOL", "F16", "F32", "F64", "I32", "I64", "I8", "U8"])
    for name in group.names {
      let tensor = try group.tensor(name, shape: [2, 3, 4])
      #expect(tensor.dtype.safetensorsName == name)
      let expected =
        name == "BOOL"
        ? (0..<24).map { $0 % 3 == 0 ? 1 : 0 }
        : fixtureValues(24, isUnsigned: name == "U8", isByte: name == "I8")
      #expect(try tensor.doubles() == expected)
    }
    #expect(try checkpoint.tensor("scalar", shape: []).item(Float.self) == -97)
    #expect(try checkpoint.tensor("empty", shape: [0, 3]).count == 0)
    #expect(try checkpoint.tensor("quoted \"name\" \\ é").scalars(Float.self) == [-97, -90])
  }

  @Test func readsBFloat16() throws {
    let tensor = try Checkpoint(contentsOf: fixture("bfloat16.safetensors")).tensor("x", shape: [4])
    #expect(try tensor.scalars(BFloat16.self).map(\.bitPattern) == [0x3F80, 0xC000, 0x7F80, 0x7FC1])
  }

  @Test func readsTheVocoder() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let path = root.appendingPathComponent("Sources/ToeplitzCommand/Resources/vocoder/generator.safetensors")
      .path
    let checkpoint = try Checkpoint(contentsOf: path)
    let first = checkpoint.inside("conv_pre")
    #expect(first.names == ["bias", "weight_g", "weight_v"])
    let weight = try first.tensor("weight_v", shape: [256, 80, 7])
    #expect(weight.dtype == .float32)
    #expect(try weight.scalars(Float.self).allSatisfy(\.isFinite))
    #expect(try checkpoint.tensor("conv_post.bias", shape: [1]).storage.isBorrowed)
  }

  @Test func unknownTypesAreNamed() throws {
    let checkpoint = try Safetensors.read(contentsOf: fixture("refused-c64.safetensors"))
    #expect(checkpoint.names.isEmpty && Array(checkpoint.unreadable.keys) == ["x"])
    let error = #expect(throws: ToeplitzError.self) { try checkpoint.tensor("x") }
    #expect(error?.kind == .unsupported)
    #expect(error?.description.contains("refused-c64.safetensors (x)") == true)
    #expect(error?.got == "'C64'")
  }

  @Test func writerRefusesWhatTheFormatCannotHold() throws {
    let tensor = try Tensor([1])
    let deep = try Tensor([1], shape: TensorShape([Int](repeating: 1, count: 65)))
    try withDirectory { directory in
      let path = directory + "/x.safetensors"
      #expect(throws: ToeplitzError.self) { try Safetensors.write(["__metadata__": tensor], to: path) }
      #expect(throws: ToeplitzError.self) { try Safetensors.write(["x": deep], to: path) }
      let huge = tensor.view(shape: [1 << 62], strides: [0], offset: 0)
      #expect(throws: ToeplitzError.self) { try Safetensors.write(["x": huge], to: path) }
      let left = try fileNames(directory)
      #expect(left.isEmpty)
    }
  }

  // MARK: - Several files

  @Test func readsPartsThroughTheIndex() throws {
    try withDirectory { directory in
      try Safetensors.write(
        ["a": Tensor([1]), "unlisted": Tensor([7])], metadata: ["k": "first"],
        to: directory + "/m-1.safetensors")
      try Safetensors.write(
        ["b": Tensor([2]), "c": Tensor([3])], metadata: ["k": "second", "l": "x"],
        to: directory + "/m-2.safetensors")
      let index =
        #"{"metadata":{"total_size":12.5e0},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors","c":"m-2.safetensors"}}"#
      let path = directory + "/model.safetensors.index.json"
      try writeFile(Array(index.utf8), to: path)
      let checkpoint = try Checkpoint(contentsOf: path)
      #expect(checkpoint.names == ["a", "b", "c"])
      #expect(checkpoint.metadata == ["k": "first", "l": "x"])
      #expect(try checkpoint.tensor("c").scalars(Float.self) == [3])
    }
  }

  @Test func indexErrorsNameTensorAndFile() throws {
    try withDirectory { directory in
      try Safetensors.write(["a": Tensor([1])], to: directory + "/m.safetensors")
      let path = directory + "/model.safetensors.index.json"
      try writeFile(Array(#"{"weight_map":{"b":"m.safetensors"}}"#.utf8), to: path)
      let missing = #expect(throws: ToeplitzError.self) { try Safetensors.read(partsOf: path) }
      #expect(missing?.path == "b")
      try writeFile(Array(#"{"weight_map":{"b":"none.safetensors"}}"#.utf8), to: path)
      let absent = #expect(throws: ToeplitzError.self) { try Safetensors.read(partsOf: path) }
      #expect(absent?.kind == .file)
    }
  }
}

/// The bytes of a safetensors file with this header and data.
func safetensors(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.append(littleEndian: UInt64(header.utf8.count))
  return bytes + header.utf8 + data
}
