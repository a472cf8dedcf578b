import Synchronization
import ToeplitzOps
import ToeplitzTensor

/// Counts the changes of values and modes of all modules.
///
/// Who keeps something made of them sees by one number that nothing has changed since it last looked closely.
enum ModuleChanges {
  private static let changes = Atomic(0)

  /// How many there have been.
  static var count: Int { changes.load(ordering: .acquiring) }

  /// Counts one that has just happened.
  static func note() { changes.add(1, ordering: .releasing) }
}

/// The parameters and buffers that are assigned while code is traced, so that they can have their values back.
///
/// Used by one task, whose calls are synchronous.
package final class Assignments: @unchecked Sendable {
  @TaskLocal package static var current: Assignments?
  private var seen: Set<ObjectIdentifier> = []
  private var entries: [(parameter: Parameter, before: Tensor)] = []

  /// None so far.
  package init() {}

  fileprivate func note(_ parameter: Parameter, _ before: Tensor) {
    if seen.insert(ObjectIdentifier(parameter)).inserted { entries.append((parameter, before)) }
  }

  /// What has been assigned, with the newest values.
  package var assigned: [(parameter: Parameter, value: Tensor)] { entries.map { ($0.parameter, $0.parameter.value) } }

  /// Gives all what they had before.
  package func takeBack() { Self.unnoted { for (parameter, before) in entries { parameter.value = before } } }

  /// Runs `body`, whose assignments are nobody's business: values are put in place for a while.
  package static func unnoted(_ body: () -> Void) { $current.withValue(nil, operation: body) }
}

/// A tensor that belongs to a module: trained (a parameter) or carried along (a buffer).
///
/// It is an object so that an optimiser and the layer see the same value.
public final class Parameter {
  /// The value; assigning another shape is the caller's responsibility.
  public var value: Tensor {
    didSet {
      ModuleChanges.note()
      if Trace.running != nil { Assignments.current?.note(self, oldValue) }
    }
  }
  /// Whether this is a buffer, such as a running mean, and not trained.
  public let isBuffer: Bool

  /// Replaces the value; it takes the element type that the parameter has.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if it has another shape.
  public func assign(_ value: Tensor) throws {
    try requireShape(self.value.shape, value)
    self.value = try value.cast(to: self.value.dtype)
  }

  /// A parameter with the given value.
  public init(_ value: Tensor, isBuffer: Bool = false) {
    self.value = value
    self.isBuffer = isBuffer
  }
}

extension Parameter: CustomStringConvertible {
  /// Kind, element type and shape, and below them the elements.
  public var description: String { "\(isBuffer ? "Buffer" : "Parameter")(\(value.spec))\n\(value)" }
}

private func requireShape(_ shape: TensorShape, _ value: Tensor) throws {
  guard value.shape == shape else {
    throw ToeplitzError(.shape, "assign", expected: "a value of shape \(shape)", got: "\(value.shape)")
  }
}

/// The weight of a layer: held as it is, as direction and length (weight normalisation), or divided by its largest singular
/// value (spectral normalisation).
///
/// With weight norm (Salimans and Kingma, 2016) the parameters are `weight_v`, of the weight's shape, and `weight_g`,
/// its norm over all axes but `dim`; the weight is `g v / ‖v‖`. With spectral norm (Miyato et al., 2018) the parameter is
/// `weight_orig`, and the buffers `weight_u` and `weight_v` are estimates of the singular vectors. The weight is computed once for
/// the same values.
public final class LayerWeight {
  /// The parameters.
  enum Form {
    case plain(Parameter)
    case normalized(g: Parameter, v: Parameter, axis: Int?)
    case spectral(SpectralParts)

    /// What the weight is computed from.
    var parts: [Tensor] {
      switch self {
      case .plain(let parameter): [parameter.value]
      case .normalized(let g, let v, _): [g.value, v.value]
      case .spectral(let parts): [parts.original.value, parts.u.value, parts.v.value]
      }
    }
  }
  var form: Form { didSet { ModuleChanges.note() } }
  private(set) var folded: (parts: [Tensor], weight: Tensor)?

  /// A weight held as it is.
  public init(_ value: Tensor) { form = .plain(Parameter(value)) }

  /// Whether the weight is held as direction and length.
  public var isNormalized: Bool {
    if case .normalized = form { true } else { false }
  }

  /// Whether the weight is divided by its largest singular value.
  public var isSpectral: Bool {
    if case .spectral = form { true } else { false }
  }

  /// Whether the weight is computed from other parameters.
  var isComposed: Bool { isNormalized || isSpectral }

  /// Element type of the weight.
  var dtype: DType { spec.dtype }

  /// Shape and element type of the weight.
  var spec: TensorSpec {
    switch form {
    case .plain(let parameter): parameter.value.spec
    case .normalized(_, let v, _): v.value.spec
    case .spectral(let parts): parts.original.value.spec
    }
  }

  /// The weight.
  ///
  /// - Throws: ``ToeplitzError`` if the norm cannot be computed.
  public var value: Tensor {
    get throws {
      if case .plain(let parameter) = form { return parameter.value }
      let parts = form.parts
      if let folded, zip(folded.parts, parts).allSatisfy({ $0.isSameView(as: $1) }) { return folded.weight }
      let weight: Tensor
      switch form {
      case .plain(let parameter): weight = parameter.value
      case .normalized(let g, let v, let axis): weight = try v.value.weightNormalized(length: g.value, axis: axis)
      case .spectral(let parts): weight = try parts.weight()
      }
      folded = (parts, weight)
      return weight
    }
  }

  /// The weight for a call; with spectral norm, the singular vectors are estimated once more in training.
  func value(isTraining: Bool) throws -> Tensor {
    if isTraining, case .spectral(let parts) = form { try parts.iterate() }
    return try value
  }

  /// Forgets what the weight was computed to.
  package func forgetProduct() { folded = nil }

  /// Takes `weight` for what its parts give, as they are now.
  func keep(_ weight: Tensor) {
    if isComposed { folded = (form.parts, weight) }
  }

  /// Replaces the weight, which takes the element type that it has; with weight norm, length and direction follow from it.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` if it has another shape.
  public func assign(_ weight: Tensor) throws {
    try requireShape(spec.shape, weight)
    try set(weight.cast(to: dtype))
  }

  /// The length of a weight with weight norm; nil without.
  public var g: Parameter? {
    if case .normalized(let g, _, _) = form { g } else { nil }
  }

  /// The direction of a weight with weight norm; nil without.
  public var v: Parameter? {
    if case .normalized(_, let v, _) = form { v } else { nil }
  }

  /// Replaces the weight; with weight norm, length and direction follow from it, with spectral norm it is what is divided.
  package func set(_ weight: Tensor) throws {
    switch form {
    case .plain(let parameter): parameter.value = weight
    case .normalized(let g, let v, let axis):
      (g.value, v.value) = try Self.parts(of: weight, axis: axis)
      // The weight came as a whole: keep it exactly, not as the rounded product of its parts.
      folded = (form.parts, weight)
    case .spectral(let parts): parts.original.value = weight
    }
  }

  /// Holds the weight as direction and length from now on.
  ///
  /// - Parameter axis: the axis that keeps its own norms, or nil for one norm of all elements (PyTorch's `dim`; −1
  ///   is nil there too).
  public func normalize(axis: Int?) throws {
    let weight = try value
    let axis = try axis.flatMap { $0 == -1 ? nil : try weight.shape.normalizedAxis($0, operation: "weightNorm") }
    let (g, v) = try Self.parts(of: weight, axis: axis)
    form = .normalized(g: Parameter(g), v: Parameter(v), axis: axis)
    folded = nil
  }

  /// Holds the weight as it is from now on.
  public func removeNormalization() throws {
    form = .plain(Parameter(try value))
    folded = nil
  }

  /// Length and direction of a weight.
  ///
  /// A filter of zeros has no direction; it gets one of ones, so that with its length of 0 it stays zero, where PyTorch's
  /// `weight_norm` would make it NaN. One so small that operations count its elements as zero gets a direction of length 1.
  private static func parts(of weight: Tensor, axis: Int?) throws -> (g: Tensor, v: Tensor) {
    let norms = try WeightNormalization(axis: axis).norms(weight)
    let g = try (axis == nil ? norms.reshaped([]) : norms).cast(to: weight.dtype)
    let numbers = try norms.scalars(Double.self)
    let leastNormal = weight.dtype == .float16 ? 0x1p-14 : weight.dtype == .float64 ? 0x1p-1022 : 0x1p-126
    guard numbers.contains(where: { $0 < leastNormal }) else { return (g, weight) }
    // As of layers whose weights come later.
    guard numbers.contains(where: { $0 != 0 }) else { return (g, try Tensor.ones(weight.shape, dtype: weight.dtype)) }
    let scales: [Double] = numbers.map { $0 > 0 && $0 < leastNormal ? 1 / $0 : 1 }
    let offsets: [Double] = numbers.map { $0 == 0 ? 1 : 0 }
    let factors = try Tensor(scales).reshaped(norms.shape)
    let ones = try Tensor(offsets).reshaped(norms.shape)
    return (g, try (weight.cast(to: .float64) * factors + ones).cast(to: weight.dtype))
  }

  /// The norm over all axes but `axis`, which stays, the others having size 1; without axis one number.
  static func norm(_ v: Tensor, axis: Int?) throws -> Tensor {
    let norm = try WeightNormalization(axis: axis).norms(v)
    return try (axis == nil ? norm.reshaped([]) : norm).cast(to: v.dtype)
  }

  /// The parameters with their names, given the weight's.
  func named(_ name: String) -> [(key: String, parameter: Parameter)] {
    switch form {
    case .plain(let parameter): [(name, parameter)]
    case .normalized(let g, let v, _): [("\(name)_g", g), ("\(name)_v", v)]
    case .spectral(let parts): parts.named(name)
    }
  }

  func cast(to dtype: DType) throws {
    switch form {
    case .plain(let parameter): parameter.value = try parameter.value.cast(to: dtype)
    case .normalized(let g, let v, _):
      g.value = try g.value.cast(to: dtype)
      v.value = try v.value.cast(to: dtype)
    case .spectral(let parts):
      for parameter in [parts.original, parts.u, parts.v] { parameter.value = try parameter.value.cast(to: dtype) }
    }
    folded = nil
  }
}

extension LayerWeight: CustomStringConvertible {
  /// How it is held, element type and shape, and below them the weight's elements.
  public var description: String {
    let elements = (try? value).map { "\n\($0)" } ?? ""
    return "LayerWeight(\(spec)\(isNormalized ? ", as g v / ‖v‖" : isSpectral ? ", as w / σ" : ""))" + elements
  }
}
