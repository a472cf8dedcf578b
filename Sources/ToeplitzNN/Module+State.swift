import ToeplitzCheckpoint
import ToeplitzOps
import ToeplitzTensor

/// What loading a state dictionary found.
public struct LoadReport: Sendable, CustomStringConvertible {
  /// Names that the module has and the dictionary lacks.
  public var missing: [String] = []
  /// Names that the dictionary has and the module lacks.
  public var unexpected: [String] = []
  /// Names whose tensor has another shape than the module's.
  public var misshapen: [(name: String, expected: TensorShape, got: TensorShape)] = []
  /// Names of the dictionary whose values, as they were loaded, hold NaN or an infinity; no error.
  public var nonFinite: [String] = []
  /// Counters of batches that the dictionary lacks, as those of PyTorch before 0.4.1 do; the module keeps its own.
  public var uncounted: [String] = []
  /// Where in a checkpoint the tensors were found, such as `generator`; empty at its top.
  public var place = ""
  /// Other places of the checkpoint whose tensors fit as well.
  public var otherPlaces: [String] = []

  /// Whether everything fitted.
  public var isClean: Bool { missing.isEmpty && unexpected.isEmpty && misshapen.isEmpty }

  /// All findings in one line.
  public var description: String {
    var parts: [String] = []
    func list(_ names: [String]) -> String {
      let shown = names.prefix(8).joined(separator: ", ")
      return names.count > 8 ? shown + " and \(names.count - 8) more" : shown
    }
    if !missing.isEmpty { parts.append("missing keys: \(list(missing))") }
    if !unexpected.isEmpty { parts.append("unexpected keys: \(list(unexpected))") }
    if !misshapen.isEmpty {
      parts.append("wrong shapes: \(list(misshapen.map { "\($0.name) \($0.got) instead of \($0.expected)" }))")
    }
    if isClean { parts.append(place.isEmpty ? "all keys fit" : "all keys inside \(place) fit") }
    if !otherPlaces.isEmpty { parts.append("so do those inside \(otherPlaces.joined(separator: ", "))") }
    if !nonFinite.isEmpty { parts.append("NaN or infinite values: \(list(nonFinite))") }
    return parts.joined(separator: "; ")
  }
}

/// What of a state dictionary goes where in a module.
struct StateFit {
  var report = LoadReport()
  fileprivate var fitting: [(slot: Slot, name: String, tensor: Tensor)] = []

  /// How many tensors have a place in the module.
  var count: Int { fitting.count }
  /// How many have one or would have it in another shape.
  var knownCount: Int { fitting.count + report.misshapen.count }
}

/// One value of a module and where it may be found in a dictionary.
private struct Slot {
  var names: [String]
  var shape: TensorShape
  var dtype: DType
  /// Refuses values that the module cannot hold; called for all slots before the first is assigned.
  var check: (Tensor) throws -> Void = { _ in }
  var assign: (Tensor) throws -> Void
}

extension Module {
  /// All parameters and buffers by their dotted names, as `state_dict()` of PyTorch.
  public func stateDictionary() -> [String: Tensor] {
    Dictionary(namedValues().map { ($0.name, $0.parameter.value) }, uniquingKeysWith: { first, _ in first })
  }

  /// Sets all parameters and buffers from a state dictionary.
  ///
  /// A weight is accepted as `weight`, as `weight_g` and `weight_v`, as `parametrizations.weight.original0` and
  /// `original1`, or with the parts of spectral norm in either spelling, whatever form the layer holds it in; only a layer with
  /// spectral norm needs its parts. A norm's `num_batches_tracked` may be missing, as PyTorch has it
  /// for dictionaries without a version. Values are converted to the layer's element type.
  ///
  /// - Parameter strict: whether missing and unexpected names are errors. Wrong shapes always are.
  /// - Returns: What was found, also where it was no error.
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that lists all missing, unexpected and wrongly shaped names;
  ///   nothing has been changed then.
  @discardableResult
  public func load(_ state: [String: Tensor], strict: Bool = true) throws -> LoadReport {
    try assign(fit(state), strict: strict)
  }

  /// What of a state dictionary goes where; nothing is changed.
  func fit(_ state: [String: Tensor]) throws -> StateFit {
    try requireVisibleState()
    var result = StateFit()
    var used = Set<String>()
    func take(_ slots: [Slot], isCounter: Bool = false) {
      for slot in slots {
        guard let name = slot.names.first(where: { state[$0] != nil }), let tensor = state[name] else {
          if isCounter {
            result.report.uncounted.append(slot.names[0])
          } else {
            result.report.missing.append(slot.names[0])
          }
          continue
        }
        used.insert(name)
        if tensor.shape == slot.shape || (tensor.count == 1 && slot.shape.allSatisfy { $0 == 1 }) {
          result.fitting.append((slot, name, tensor))
        } else {
          result.report.misshapen.append((name, slot.shape, tensor.shape))
        }
      }
    }
    for (path, module) in namedModules() {
      for (key, item) in module.items {
        switch item {
        case .module: break
        case .parameter(let parameter):
          let slot = Slot(names: [join(path, key)], shape: parameter.value.shape, dtype: parameter.value.dtype) {
            parameter.value = $0
          }
          take([slot], isCounter: key == "num_batches_tracked" && parameter.isBuffer)
        case .weight(let weight):
          let form = WeightSpelling(
            prefix: path, key: key, state: state, rowAxis: (module as? any WeightedLayer)?.rowAxis ?? 0)
          take(try form.slots(weight, weight.spec))
        }
      }
    }
    result.report.unexpected = state.keys.filter { !used.contains($0) }.sorted()
    return result
  }

  /// Sets what fits.
  func assign(_ fit: StateFit, strict: Bool) throws -> LoadReport {
    var report = fit.report
    if !report.misshapen.isEmpty || (strict && !report.isClean) {
      throw ToeplitzError(
        .checkpoint, "load", expected: "a state dictionary that fits the model", got: report.description)
    }
    let values = try fit.fitting.map { slot, name, tensor in
      let value = try tensor.reshaped(slot.shape).cast(to: slot.dtype)
      try slot.check(value)
      if try value.hasNonFinite() { report.nonFinite.append(name) }
      return value
    }
    for (index, value) in values.enumerated() { try fit.fitting[index].slot.assign(value) }
    noteLoaded()
    return report
  }
}

/// How a state dictionary spells a layer's weight.
private struct WeightSpelling {
  var prefix: String
  var key: String
  var state: [String: Tensor]
  /// The axis of the output channels.
  var rowAxis: Int

  private var plain: String { join(prefix, key) }
  private var lengths: [String] { [plain + "_g", parametrization("original0")] }
  private var directions: [String] { [plain + "_v", parametrization("original1")] }

  private func parametrization(_ part: String) -> String { parametrized(plain, part) }

  /// The places of a weight that is divided by its largest singular value.
  private func spectralSlots(_ weight: LayerWeight, _ spec: TensorSpec) throws -> [Slot] {
    let names = SpectralParts.spellings(plain)
    // Where the layer holds its weight plainly, the axis follows from the length of the first vector.
    let rows = names.u.lazy.compactMap { state[$0] }.first?.count
    let parts: SpectralParts
    if case .spectral(let own) = weight.form {
      parts = own
    } else {
      let axis = ([rowAxis] + spec.shape.indices).first { spec.shape[$0] == rows } ?? rowAxis
      parts = try SpectralParts(Tensor.zeros(spec.shape, dtype: spec.dtype), axis: axis, generator: .zeros)
    }
    func slot(_ names: [String], _ parameter: Parameter, _ assign: @escaping () throws -> Void = {}) -> Slot {
      Slot(names: names, shape: parameter.value.shape, dtype: spec.dtype) {
        parameter.value = $0
        try assign()
      }
    }
    return [
      slot(names.original, parts.original), slot(names.u, parts.u),
      slot(names.v, parts.v) { if !weight.isSpectral { try weight.set(parts.weight()) } },
    ]
  }

  func slots(_ weight: LayerWeight, _ spec: TensorSpec) throws -> [Slot] {
    if weight.isSpectral || SpectralParts.spellings(plain).original.contains(where: { state[$0] != nil }) {
      return try spectralSlots(weight, spec)
    }
    let hasParts = (lengths + directions).contains { state[$0] != nil }
    if !hasParts, !weight.isNormalized || state[plain] != nil {
      return [Slot(names: [plain], shape: spec.shape, dtype: spec.dtype) { try weight.set($0) }]
    }
    let axis = try axis(weight, spec.shape)
    let lengthShape = axis.map { axis in
      TensorShape(spec.shape.indices.map { $0 == axis ? spec.shape[axis] : 1 })
    }
    var length: Tensor?
    let name = "\(plain)_v"
    return [
      Slot(names: lengths, shape: lengthShape ?? [], dtype: spec.dtype) { length = $0 },
      Slot(names: directions, shape: spec.shape, dtype: spec.dtype) { direction in
        try Self.checkFilters(direction, axis, name)
      } assign: { direction in
        guard let length else { return }
        guard case .normalized(let g, let v, _) = weight.form else {
          return try weight.set(direction.weightNormalized(length: length, axis: axis))
        }
        g.value = length
        v.value = direction
      },
    ]
  }

  /// The axis that keeps its norms: the layer's, or what the shape of the stored lengths tells.
  private func axis(_ weight: LayerWeight, _ shape: TensorShape) throws -> Int? {
    if case .normalized(_, _, let axis) = weight.form { return axis }
    guard let stored = lengths.lazy.compactMap({ state[$0] }).first, stored.count > 1 else {
      return shape.first == 1 ? 0 : nil
    }
    return stored.shape.rank == shape.rank
      ? stored.shape.indices.first { stored.shape[$0] == shape[$0] && stored.shape[$0] > 1 } : 0
  }

  /// A direction of length zero has no direction: the weight would be NaN.
  private static func checkFilters(_ direction: Tensor, _ axis: Int?, _ name: String) throws {
    let norms = try LayerWeight.norm(direction, axis: axis).cast(to: .float64).scalars(Double.self)
    if let index = norms.firstIndex(of: 0) {
      throw ToeplitzError(
        .checkpoint, "load", expected: "filters of \(name) that are not all zero", got: "filter \(index) of zeros")
    }
  }
}
