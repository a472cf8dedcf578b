import ToeplitzCheckpoint
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The gradient of a number with respect to the parameters of one or several models.
///
/// A value: nothing refers to the computation that it came from, and it may go to another task. Entries are found by their
/// parameter, or by the dotted name that it had.
public struct Gradients: Sendable {
  /// One parameter's part.
  struct Entry: Sendable {
    var parameter: ObjectIdentifier
    var name: String
    var spec: TensorSpec
    /// Nil where the number does not depend on the parameter.
    var value: Tensor?
  }
  var entries: [Entry]
  private let indices: [ObjectIdentifier: Int]

  init(_ entries: [Entry]) {
    self.entries = entries
    indices = Dictionary(entries.enumerated().map { ($1.parameter, $0) }) { first, _ in first }
  }

  /// The gradients of parameters, in their order.
  init(_ parameters: [(name: String, parameter: Parameter)], _ values: [Tensor?]) {
    self.init(
      zip(parameters, values).map { named, value in
        Entry(
          parameter: ObjectIdentifier(named.parameter), name: named.name, spec: named.parameter.value.spec, value: value
        )
      })
  }

  /// The gradient with respect to a parameter; nil if the number does not depend on it, or it was not asked for.
  public subscript(parameter: Parameter) -> Tensor? {
    indices[ObjectIdentifier(parameter)].flatMap { entries[$0].value }
  }

  /// The gradient with respect to the parameter of this name.
  public subscript(name: String) -> Tensor? { entries.first { $0.name == name }?.value }

  /// All gradients by the names of their parameters.
  public var named: [String: Tensor] {
    Dictionary(entries.compactMap { entry in entry.value.map { (entry.name, $0) } }) { first, _ in first }
  }

  /// The names of the parameters that the number does not depend on.
  public var unreached: [String] { entries.filter { $0.value == nil }.map(\.name) }

  // MARK: Arithmetic

  private func mapped(_ transform: (Tensor) throws -> Tensor) rethrows -> Gradients {
    var copy = self
    for index in copy.entries.indices { copy.entries[index].value = try copy.entries[index].value.map(transform) }
    return copy
  }

  /// All gradients times a number.
  public static func * (gradients: Gradients, factor: Double) throws -> Gradients {
    try gradients.mapped { try $0 * factor }
  }

  /// The sums of the gradients of each parameter; one that only one of both has stays.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` that names a parameter whose gradients have different shapes.
  public static func + (a: Gradients, b: Gradients) throws -> Gradients {
    var entries = a.entries
    for other in b.entries {
      guard let index = a.indices[other.parameter] else {
        entries.append(other)
        continue
      }
      guard entries[index].spec == other.spec else {
        throw ToeplitzError(
          .shape, "Gradients", expected: "gradients of one shape for '\(other.name)'",
          got: "\(entries[index].spec) and \(other.spec)")
      }
      if let value = other.value { entries[index].value = try entries[index].value.map { try $0 + value } ?? value }
    }
    return Gradients(entries)
  }

  /// The mean of several gradients, such as those of the parts of a batch.
  ///
  /// - Throws: ``ToeplitzError`` if there is none, or shapes differ.
  public static func average(_ gradients: [Gradients]) throws -> Gradients {
    guard let first = gradients.first else {
      throw ToeplitzError(.argument, "Gradients.average", expected: "at least one", got: "none")
    }
    return try gradients.dropFirst().reduce(first) { try $0 + $1 } * (1 / Double(gradients.count))
  }

  // MARK: Size

  /// The Euclidean norm of all gradients together, a number in float64.
  public func norm() throws -> Tensor {
    let squares = try entries.compactMap { entry in
      try entry.value.map { value in
        let wide = try value.cast(to: .float64)
        return try (wide * wide).sum()
      }
    }
    let zero = try Tensor.zeros([], dtype: .float64)
    return try squares.reduce(zero) { try $0 + $1 }.sqrt()
  }

  /// The gradients, made shorter if their norm is above `maxNorm` (`torch.nn.utils.clip_grad_norm_`).
  ///
  /// - Returns: The gradients and the norm that they had.
  /// - Throws: ``ToeplitzError`` of kind `argument` if `maxNorm` is negative or no number.
  public func clipped(maxNorm: Double) throws -> (gradients: Gradients, norm: Tensor) {
    guard maxNorm >= 0 else {
      throw ToeplitzError(.argument, "Gradients.clipped", expected: "a maxNorm of at least 0", got: "\(maxNorm)")
    }
    let norm = try norm()
    // PyTorch's constant, which keeps the divisor from zero.
    let factor = try ((norm + 1e-6).reciprocal() * maxNorm).clip(to: 1)
    return (try mapped { try $0 * factor.cast(to: $0.dtype) }, norm)
  }

  /// The gradients with each element moved into −`bound`…`bound` (`torch.nn.utils.clip_grad_value_`).
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `bound` is negative or no number.
  public func clipped(value bound: Double) throws -> Gradients {
    guard bound >= 0 else {
      throw ToeplitzError(.argument, "Gradients.clipped", expected: "a bound of at least 0", got: "\(bound)")
    }
    return try mapped { try $0.clip(from: -bound, to: bound) }
  }

  /// Whether no element is NaN or infinite.
  ///
  /// - Throws: ``ToeplitzError`` while code is traced, when elements are not known.
  public func areFinite() throws -> Bool { try firstNonFinite() == nil }

  /// The name of the first parameter whose gradient holds NaN or an infinity; nil if none does.
  ///
  /// - Throws: ``ToeplitzError`` while code is traced, when elements are not known.
  public func firstNonFinite() throws -> String? {
    try entries.first { try $0.value?.hasNonFinite() ?? false }?.name
  }

  // MARK: Files

  /// Writes all gradients to a safetensors file, under the names of their parameters.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written.
  public func save(to path: String) throws {
    try Safetensors.write(try named.mapValues { try $0.computed() }, to: path)
  }

  /// Reads the gradients of a model from a file that ``save(to:)`` has written.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that names a parameter whose gradient has another shape, or a name that the
  ///   model lacks.
  public static func load(contentsOf path: String, for model: Module) throws -> Gradients {
    var stored = try Checkpoint(contentsOf: path).tensors
    let entries = try ModelValues([model]).parameters.map { name, parameter -> Entry in
      let value = stored.removeValue(forKey: name)
      if let value, value.spec != parameter.value.spec {
        throw ToeplitzError(
          .checkpoint, path, expected: "a gradient \(parameter.value.spec) of '\(name)'", got: "\(value.spec)")
      }
      return Entry(parameter: ObjectIdentifier(parameter), name: name, spec: parameter.value.spec, value: value)
    }
    guard let unknown = stored.keys.sorted().first else { return Gradients(entries) }
    throw ToeplitzError(.checkpoint, path, expected: "gradients of the model's parameters", got: "'\(unknown)'")
  }
}
