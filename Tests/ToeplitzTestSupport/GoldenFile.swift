import Foundation
import ToeplitzTensor

/// A value of a golden file's JSON.
package enum GoldenValue: Decodable, Sendable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case array([GoldenValue])
  case object([String: GoldenValue])

  /// Any JSON value.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int.self) {
      self = .int(value)
    } else if let value = try? container.decode(Double.self) {
      self = .double(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([GoldenValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: GoldenValue].self))
    }
  }

  /// The entry of an object, null if there is none.
  package subscript(key: String) -> GoldenValue {
    if case .object(let entries) = self { entries[key] ?? .null } else { .null }
  }
  /// Whether this is null.
  package var isNull: Bool { if case .null = self { true } else { false } }
  /// The whole number, if it is one.
  package var int: Int? { if case .int(let value) = self { value } else { nil } }
  /// The truth value, if it is one.
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The text, if it is one.
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The elements, if this is an array.
  package var array: [GoldenValue]? { if case .array(let values) = self { values } else { nil } }
  /// The entries, if this is an object.
  package var object: [String: GoldenValue]? { if case .object(let entries) = self { entries } else { nil } }
  /// The whole numbers of an array.
  package var ints: [Int]? { array?.compactMap(\.int) }
  /// The number, if it is one.
  package var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }
}

/// Golden cases and their tensors: `<name>.json` and `<name>.safetensors` of a fixtures folder.
package struct GoldenFile: Sendable {
  /// The cases, each an object.
  package let cases: [GoldenValue]
  /// All tensors by name, float32, float64 or int64 as stored.
  package let tensors: [String: Tensor]

  /// Reads both files; `path` is relative to the fixtures and has no extension.
  package init(_ path: String) throws { try self.init(file: Fixtures.path(path)) }

  /// Reads both files; `file` has no extension.
  package init(file: String) throws {
    let json = try Data(contentsOf: URL(fileURLWithPath: file + ".json"))
    cases = try JSONDecoder().decode(GoldenValue.self, from: json)["cases"].array ?? []
    tensors = try Self.read(Data(contentsOf: URL(fileURLWithPath: file + ".safetensors")))
  }

  /// A minimal reader, so that these tests do not rest on the checkpoint code.
  private static func read(_ data: Data) throws -> [String: Tensor] {
    let length = data.withUnsafeBytes { Int($0.loadUnaligned(as: UInt64.self)) }
    let header = try JSONDecoder().decode([String: GoldenValue].self, from: data[8..<(8 + length)])
    return try header.filter { $0.key != "__metadata__" }.mapValues { entry in
      let offsets = entry["data_offsets"].ints ?? []
      let bytes = Data(data[(8 + length + offsets[0])..<(8 + length + offsets[1])])
      func tensor<T: TensorScalar>(_ type: T.Type) throws -> Tensor {
        let scalars = bytes.withUnsafeBytes { raw in
          (0..<(raw.count / MemoryLayout<T>.size)).map {
            raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
          }
        }
        return try Tensor(scalars, shape: TensorShape(entry["shape"].ints ?? []))
      }
      switch entry["dtype"].string {
      case "F32": return try tensor(Float.self)
      case "F64": return try tensor(Double.self)
      default: return try tensor(Int64.self)
      }
    }
  }

  /// The tensor of the given name.
  package func tensor(_ name: String) throws -> Tensor {
    guard let tensor = tensors[name] else {
      throw ToeplitzError(.format, "golden file", expected: "a tensor \(name)", got: "none")
    }
    return tensor
  }

  /// The tensor of the given name in the element type that it stands for; halves are stored as bit patterns.
  package func tensor(_ name: String, _ dtype: DType) throws -> Tensor {
    let stored = try tensor(name)
    func convert<T: TensorScalar>(_ make: (Int64) -> T) throws -> Tensor {
      try Tensor(stored.scalars(Int64.self).map(make), shape: stored.shape)
    }
    switch dtype {
    case .float32, .int64: return stored
    case .float64: return try Tensor(stored.scalars(Float.self).map { Double($0) }, shape: stored.shape)
    case .float16: return try convert { Float16(bitPattern: UInt16(truncatingIfNeeded: $0)) }
    case .bfloat16: return try convert { BFloat16(bitPattern: UInt16(truncatingIfNeeded: $0)) }
    case .int8: return try convert { Int8(truncatingIfNeeded: $0) }
    case .uint8: return try convert { UInt8(truncatingIfNeeded: $0) }
    case .int32: return try convert { Int32(truncatingIfNeeded: $0) }
    case .bool: return try convert { $0 != 0 }
    default: return try stored.cast(to: dtype)
    }
  }

  /// What is wrong with `got`, or nil: numbers may differ by `tolerance` (absolute and relative), NaN equals NaN,
  /// infinities by sign; integers and bools are equal or wrong.
  package static func difference(_ got: Tensor, _ expected: Tensor, tolerance: Double) throws -> String? {
    guard got.shape == expected.shape else { return "shape \(got.shape) instead of \(expected.shape)" }
    if got.dtype == .int64 || got.dtype == .int32 {
      let (a, b) = (
        try got.cast(to: .int64).scalars(Int64.self), try expected.cast(to: .int64).scalars(Int64.self)
      )
      return a == b ? nil : "\(a) instead of \(b)"
    }
    for (index, (a, b)) in zip(try got.doubles(), try expected.doubles()).enumerated() {
      let slack = got.dtype.isFloatingPoint && b.isFinite ? tolerance * (1 + abs(b)) : 0
      guard a == b || (a.isNaN && b.isNaN) || abs(a - b) <= slack else {
        return "\(a) instead of \(b) at \(index)"
      }
    }
    return nil
  }
}
