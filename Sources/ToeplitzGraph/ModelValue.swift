import ToeplitzTensor

/// Strings in row-major order under a shape.
public struct StringTensor: Sendable, Hashable {
  /// The sizes of the axes.
  public let shape: TensorShape
  /// The elements in row-major order.
  public let elements: [String]

  /// Strings under a shape; without one, a vector.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if the shape does not have as many elements.
  public init(_ elements: [String], shape: TensorShape? = nil) throws {
    let shape = shape ?? [elements.count]
    guard try shape.elementCount("StringTensor") == elements.count else {
      throw ToeplitzError(
        .shape, "StringTensor", expected: "as many elements as shape \(shape) has", got: "\(elements.count) elements")
    }
    (self.shape, self.elements) = (shape, elements)
  }
}

/// What a model takes or gives: mostly a tensor; ONNX knows strings, sequences of tensors and optional values too.
public enum ModelValue: Sendable {
  /// Numbers.
  case tensor(Tensor)
  /// Strings.
  case strings(StringTensor)
  /// Tensors, which need not have one shape.
  case sequence([Tensor])
  /// An optional value that is not there.
  case none

  /// The tensor, if it is one.
  public var tensor: Tensor? { if case .tensor(let tensor) = self { tensor } else { nil } }

  /// What it is, for errors.
  public var description: String {
    switch self {
    case .tensor(let tensor): "\(tensor.spec)"
    case .strings(let strings): "string\(strings.shape)"
    case .sequence(let tensors): "a sequence of \(tensors.count) tensors"
    case .none: "no value"
    }
  }
}

/// Values of a source as tensors under keys, as traces and programs know them.
///
/// A tensor has the number of its value as key. Of another value the shape of a header, which has no elements, says what it
/// is; so programs for values of other lengths have another signature. The tensors it is made of have keys of their own.
package enum ValueKey {
  private enum Tag: Int {
    case none = 1
    case sequence
    case strings
  }

  /// The key of a value's header.
  package static func header(_ number: Int) -> Int { -1 - number }
  /// The key of a tensor that a value is made of.
  private static func part(_ number: Int, _ index: Int) -> Int { (number + 1) << 32 | index }
  /// The number of the value that a key belongs to.
  package static func number(_ key: Int) -> Int { key < 0 ? -1 - key : key < 1 << 32 ? key : key >> 32 - 1 }

  /// Adds a value to tensors by key.
  package static func store(_ value: ModelValue, _ number: Int, in tensors: inout [Int: Tensor]) throws {
    func mark(_ tag: Tag, _ sizes: [Int]) throws {
      tensors[header(number)] = try Tensor.zeros(TensorShape([0, tag.rawValue] + sizes), dtype: .uint8)
    }
    switch value {
    case .tensor(let tensor): tensors[number] = tensor
    case .none: try mark(.none, [])
    case .sequence(let list):
      try mark(.sequence, [list.count])
      for (index, tensor) in list.enumerated() { tensors[part(number, index)] = tensor }
    case .strings(let strings):
      try mark(.strings, strings.shape.dimensions)
      // The byte between strings does not occur in UTF-8.
      let bytes: [UInt8] = strings.elements.flatMap { Array($0.utf8) + [0xFF] }
      tensors[part(number, 0)] = try Tensor(bytes, shape: nil, device: .cpu)
    }
  }

  /// The value of a number among tensors by key; nil if it is not there.
  ///
  /// - Throws: The error of who reads a traced tensor's elements, for strings that are only traced.
  package static func value(_ number: Int, in tensors: [Int: Tensor]) throws -> ModelValue? {
    if let tensor = tensors[number] { return .tensor(tensor) }
    guard let shape = tensors[header(number)]?.shape else { return nil }
    switch Tag(rawValue: shape[1]) {
    case .sequence: return .sequence((0..<shape[2]).compactMap { tensors[part(number, $0)] })
    case .strings:
      guard let bytes = try tensors[part(number, 0)]?.scalars(UInt8.self) else { return nil }
      let elements = bytes.split(separator: 0xFF, omittingEmptySubsequences: false).dropLast()
      return .strings(
        try StringTensor(
          elements.map { String(decoding: $0, as: UTF8.self) }, shape: TensorShape(Array(shape.dropFirst(2)))))
    default: return ModelValue.none
    }
  }

  /// The keys that a value has among tensors.
  package static func keys(_ number: Int, in tensors: [Int: Tensor]) -> [Int] {
    if tensors[number] != nil { return [number] }
    guard let shape = tensors[header(number)]?.shape else { return [] }
    let count = Tag(rawValue: shape[1]) == .sequence ? shape[2] : Tag(rawValue: shape[1]) == .strings ? 1 : 0
    return [header(number)] + (0..<count).map { part(number, $0) }
  }
}
