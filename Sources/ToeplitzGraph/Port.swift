import ToeplitzTensor

/// One size of an input: a number, a name that stands for one number throughout a call, or anything.
public enum AxisSize: Sendable, Hashable, CustomStringConvertible, ExpressibleByIntegerLiteral,
  ExpressibleByStringLiteral
{
  /// This size only.
  case fixed(Int)
  /// Any size, but the same wherever the name stands.
  case symbol(String)
  /// Any size.
  case any

  /// The number, the name or `?`.
  public var description: String {
    switch self {
    case .fixed(let size): "\(size)"
    case .symbol(let name): name
    case .any: "?"
    }
  }

  /// A fixed size.
  public init(integerLiteral value: Int) { self = .fixed(value) }
  /// A named size.
  public init(stringLiteral value: String) { self = .symbol(value) }
}

/// What an executable says of one of its inputs or outputs.
public struct PortDescription: Sendable {
  /// What kind of value goes there.
  public enum Kind: Sendable, Hashable {
    /// A tensor of numbers.
    case tensor
    /// Strings.
    case strings
    /// Tensors, which need not have one shape.
    case sequence
    /// Either of these, or nothing.
    case optional
  }

  /// The name.
  public var name: String
  /// The element type, if it is known.
  public var dtype: DType?
  /// The sizes, if their number is known.
  public var dimensions: [AxisSize]?
  /// What kind of value goes there; element type and sizes of a sequence are those of its tensors.
  public var kind = Kind.tensor

  /// An input or output of the given element type and sizes.
  public init(name: String, dtype: DType? = nil, dimensions: [AxisSize]? = nil) {
    (self.name, self.dtype, self.dimensions) = (name, dtype, dimensions)
  }

  /// Element type and sizes, such as `float32[N, 3, 224, 224]`.
  public var description: String {
    let sizes = dimensions.map { "[" + $0.map(\.description).joined(separator: ", ") + "]" } ?? "[…]"
    let element = kind == .strings ? "string" : dtype?.description ?? "any"
    return (kind == .sequence ? "sequence of " : kind == .optional ? "optional " : "") + element + sizes
  }

  /// Throws unless `value` fits.
  func check(_ value: ModelValue, _ sizes: inout [String: (size: Int, port: String)]) throws {
    switch (kind, value) {
    case (.tensor, .tensor(let tensor)), (.optional, .tensor(let tensor)): try check(tensor.spec, &sizes)
    case (.sequence, .sequence), (.optional, .sequence), (.optional, .none), (.optional, .strings): break
    case (.strings, .strings(let strings)):
      try checkElements(TensorSpec(strings.shape, dtype ?? .uint8), &sizes)
    default: throw ToeplitzError(.argument, "input '\(name)'", expected: description, got: value.description)
    }
  }

  /// Throws unless `tensor` fits; `sizes` are those that names have got so far in a call, and at which input.
  func check(_ tensor: TensorSpec, _ sizes: inout [String: (size: Int, port: String)]) throws {
    guard kind == .tensor || kind == .optional else {
      throw ToeplitzError(.argument, "input '\(name)'", expected: description, got: tensor.description)
    }
    try checkElements(tensor, &sizes)
  }

  private func checkElements(
    _ tensor: TensorSpec, _ sizes: inout [String: (size: Int, port: String)]
  ) throws {
    func refuse(_ kind: ToeplitzError.Kind, _ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(kind, "input '\(name)'", expected: expected, got: got)
    }
    if let dtype, tensor.dtype != dtype { throw refuse(.dtype, "\(dtype) elements", "\(tensor.dtype)") }
    guard let dimensions else { return }
    guard dimensions.count == tensor.shape.rank else {
      throw refuse(.shape, "\(dimensions.count) dimensions (\(description))", "shape \(tensor.shape)")
    }
    for (axis, dimension) in dimensions.enumerated() {
      switch dimension {
      case .any: break
      case .fixed(let size):
        guard tensor.shape[axis] == size else {
          throw refuse(.shape, "size \(size) on axis \(axis) (\(description))", "shape \(tensor.shape)")
        }
      case .symbol(let symbol):
        if let (size, other) = sizes[symbol], size != tensor.shape[axis] {
          throw refuse(
            .shape, "size \(size) on axis \(axis), as '\(symbol)' is in '\(other)'", "shape \(tensor.shape)")
        }
        sizes[symbol] = (tensor.shape[axis], name)
      }
    }
  }
}
