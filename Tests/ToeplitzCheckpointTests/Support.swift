import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzCheckpoint

/// The files that `generate.py` wrote.
func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures/checkpoint/\(name)").path
}

/// Calls `body` with the path of an empty directory that is removed afterwards.
func withDirectory<R>(_ body: (String) throws -> R) throws -> R {
  let directory = FileManager.default.temporaryDirectory
    .appendingPathComponent("toeplitz-checkpoint-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
  defer { try? FileManager.default.removeItem(at: directory) }
  return try body(directory.path)
}

func writeFile(_ bytes: [UInt8], to path: String) throws {
  try Data(bytes).write(to: URL(fileURLWithPath: path))
}

func readFile(_ path: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

/// A byte for each character, of which none is above 255.
func latin1(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }

/// The names of the files in a directory.
func fileNames(_ directory: String) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
}

/// Bytes that stay where they are, on an 8-byte boundary, as those of a mapped file.
final class Block: Sendable {
  nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

  init(_ contents: [UInt8]) {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: contents.count, alignment: 8)
    copy.copyBytes(from: contents)
    bytes = UnsafeRawBufferPointer(copy)
  }

  deinit { bytes.deallocate() }
}

/// One of the parsers under test.
enum Parser: String, CaseIterable, Sendable {
  case safetensors, index, npy, npz, torch

  /// Parses bytes in memory; the result is all elements, so that every byte is looked at.
  func parse(_ contents: [UInt8]) throws {
    let block = Block(contents)
    try withExtendedLifetime(block) {
      switch self {
      case .safetensors: try read(Safetensors.decode(block.bytes, owner: block, source: "test"))
      case .index: _ = try Safetensors.parseIndex(block.bytes, FilePlace(file: "test"))
      case .npy: _ = try NumPy.decode(block.bytes, owner: nil, FilePlace(file: "test")).bytes()
      case .npz: try read(NumPy.decodeArchive(block.bytes, source: "test", maximumBytes: 1 << 24))
      case .torch: try read(PyTorch.decode(block.bytes, owner: block, source: "test"))
      }
    }
  }

  /// Looks at every byte of every tensor; throws what one cannot be read for.
  private func read(_ checkpoint: Checkpoint) throws {
    for tensor in checkpoint.tensors.values where tensor.count < 1 << 20 { _ = try tensor.bytes() }
    if let error = checkpoint.unreadable.values.first { throw error }
  }

  /// Expects that the bytes are refused with an error of one line that contains `text`.
  func expectRefusal(_ contents: [UInt8], _ text: String, location: SourceLocation = #_sourceLocation) {
    do {
      try parse(contents)
      Issue.record("\(self) accepted the bytes", sourceLocation: location)
    } catch let error as ToeplitzError {
      let line = error.description
      #expect([.format, .memory, .unsupported].contains(error.kind), sourceLocation: location)
      #expect(line.hasPrefix("test"), sourceLocation: location)
      #expect(line.contains(text), "\(line)", sourceLocation: location)
      #expect(!line.contains("\n") && line.utf8.count < 1000, sourceLocation: location)
    } catch {
      Issue.record("\(self) threw \(error)", sourceLocation: location)
    }
  }
}

extension Tensor {
  func bytes() throws -> [UInt8] { try withBytes { [UInt8]($0) } }

  /// A tensor of `dtype` with the given memory.
  static func of(_ bytes: [UInt8], _ dtype: DType, _ sizes: [Int]) throws -> Tensor {
    try bytes.withUnsafeBytes { try ElementBytes.tensor($0, dtype, sizes, owner: nil, FilePlace(file: "")) }
  }

  /// A 3 × 5 tensor of `dtype` with every kind of bit pattern, NaNs with payloads among them.
  static func sample(_ dtype: DType) throws -> Tensor {
    var bytes: [UInt8] = []
    func append<T: FixedWidthInteger>(_ patterns: [T]) {
      for index in 0..<15 { bytes.append(littleEndian: patterns[index % patterns.count]) }
    }
    switch dtype {
    case .float32: append([0x3F80_0000, 0x7FC0_0001, 0xFFA1_2345, 0x8000_0000, 0x7F80_0000, 1] as [UInt32])
    case .float64:
      append([0x3FF0 << 48, 0x7FF8 << 48 | 1, 0xFFF0 << 48 | 9, 1 << 63, 0x7FF0 << 48, 1] as [UInt64])
    case .float16: append([0x3C00, 0x7E01, 0xFD23, 0x8000, 0x7C00, 1] as [UInt16])
    case .bfloat16: append([0x3F80, 0x7FC1, 0xFFA1, 0x8000, 0x7F80, 1] as [UInt16])
    case .int8, .uint8: append([0, 1, 0x7F, 0x80, 0xFF] as [UInt8])
    case .int32: append([0, -1, .min, .max, 77] as [Int32])
    case .int64: append([0, -1, .min, .max, 1 << 53 + 1] as [Int64])
    case .int16, .uint16: append([0, 1, 0x7FFF, 0x8000, 0xFFFF] as [UInt16])
    case .uint32: append([0, 1, .max, 1 << 31, 77] as [UInt32])
    case .uint64: append([0, 1, .max, 1 << 63, 1 << 53 + 1] as [UInt64])
    case .bool: append([0, 1, 1] as [UInt8])
    default: append([0, 1, 3, 2, 1] as [UInt8])
    }
    return try of(bytes, dtype, [3, 5])
  }

  func expectSame(as other: Tensor, location: SourceLocation = #_sourceLocation) throws {
    #expect(spec == other.spec, sourceLocation: location)
    #expect(try bytes() == other.bytes(), sourceLocation: location)
  }
}

/// What `values` in `generate.py` computes, as doubles.
func fixtureValues(_ count: Int, isUnsigned: Bool = false, isByte: Bool = false) -> [Double] {
  (0..<count).map { index in
    let value = (index * 7 + 3) % 251
    if isUnsigned { return Double(value) }
    return isByte ? (Double(value - 100) / 2).rounded(.down) : Double(value - 100)
  }
}

extension Tensor {
  /// All elements as doubles.
  func doubles() throws -> [Double] {
    func read<T: TensorScalar>(_ type: T.Type) throws -> [Double] { try scalars(type).map(\.doubleValue) }
    return try read(dtype.scalarType)
  }
}
