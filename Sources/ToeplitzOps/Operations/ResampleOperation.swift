import ToeplitzTensor

/// How positions between the samples of an input are filled.
public enum Interpolation: String, Sendable, Hashable, CaseIterable {
  /// The sample at `floor(i · L / o)`, PyTorch's `nearest`.
  case nearest
  /// The sample whose interval holds the position's middle, PyTorch's `nearest-exact`.
  case nearestExact = "nearest-exact"
  /// A straight line between two samples.
  case linear
  /// A cubic through four samples with a = −0.75 (Keys, 1981).
  case cubic

  /// The weight of a sample at a distance in cubic convolution (Keys, 1981), with its free parameter.
  package static func cubicWeight(_ distance: Double, coefficient a: Double) -> Double {
    let x = abs(distance)
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0
  }

  /// Whether a position takes one sample as it is.
  public var isNearest: Bool { self == .nearest || self == .nearestExact }
}

/// Samples taken between the positions of one axis.
package struct Resample: TensorOperation {
  package var axis: Int
  package var rule: Rule

  /// Where samples are taken.
  package enum Rule: Sendable, Hashable {
    /// Evenly, with the options of PyTorch's `interpolate`.
    case interpolated(EvenSamples)
    /// Each a sum of weighted positions, or `fill` where there is none.
    case weighted([[Term]?], fill: Double)
  }

  /// A position with its weight.
  package struct Term: Sendable, Hashable {
    package var position: Int
    package var weight: Double

    package init(position: Int, weight: Double) { (self.position, self.weight) = (position, weight) }
  }

  package init(axis: Int, _ rule: Rule) { (self.axis, self.rule) = (axis, rule) }

  package var name: String {
    switch rule {
    case .interpolated: "Upsample"
    case .weighted: "resize"
    }
  }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    let axis = try shape.normalizedAxis(axis, operation: name)
    guard case .interpolated(let samples) = rule else {
      guard case .weighted(let terms, _) = rule else { return inputs }
      return [TensorSpec(shape.replacing(axis, by: terms.count), dtype)]
    }
    try require(
      samples.interpolation.isNearest || dtype.isFloatingPoint, .dtype, expected: "floating-point elements",
      got: "\(dtype)")
    try require(shape[axis] > 0, expected: "at least 1 position on axis \(axis)", got: "shape \(shape)")
    if let factor = samples.factor {
      // A factor so small that its inverse is infinite names no position either.
      try require(
        factor > 0 && factor.isFinite && (1 / factor).isFinite, .argument, expected: "a finite factor above 0",
        got: "\(factor)")
    }
    try require(samples.size > 0, expected: "an output of at least 1 position on axis \(axis)", got: "\(samples.size)")
    return [TensorSpec(shape.replacing(axis, by: samples.size), dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] }
      let axis = try call.x.shape.normalizedAxis(axis, operation: name)
      return [try apply(Resample(axis: axis, rule.adjoint(length: call.x.shape[axis])), call.dy)]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    let shape = call.inputs[0].shape
    if let time = call.axes[0], (axis < 0 ? axis + shape.rank : axis) == time,
      let factor = rule.wholeFactor(length: shape[time]), case .interpolated(let samples) = rule
    {
      let reach = samples.interpolation.isNearest ? 0 : samples.interpolation == .linear ? 1 : 2
      return .blocks(from: 1, to: factor, reach: reach, axis: time) { length in
        var resized = samples
        resized.size = length
        return Resample(axis: axis, .interpolated(resized))
      }
    }
    return .pointwise(call, except: [axis], because: "the number of positions decides where samples are taken")
  }
}

extension Resample.Rule {
  /// How many results each position becomes, if that is a whole number that holds for every length.
  func wholeFactor(length: Int) -> Int? {
    guard case .interpolated(let samples) = self, !samples.alignCorners, length > 0, samples.size % length == 0,
      case let factor = samples.size / length, factor >= 1, samples.factor.map({ $0 == Double(factor) }) ?? true
    else { return nil }
    guard samples.interpolation.isNearest else { return factor }
    // Positions are rounded; those of a few factors are not where they should be.
    var probe = samples
    probe.size = 1024 * factor
    return probe.nearest(1024).enumerated().allSatisfy { $0.element == $0.offset / factor } ? factor : nil
  }

  /// The position that each result takes as it is, if each takes just one; the axis has `length` positions.
  package func nearestPositions(length: Int) -> [Int]? {
    switch self {
    case .interpolated(let samples): return samples.interpolation.isNearest ? samples.nearest(length) : nil
    case .weighted(let terms, _):
      var positions: [Int] = []
      for sample in terms {
        guard let sample, sample.count == 1, sample[0].weight == 1 else { return nil }
        positions.append(sample[0].position)
      }
      return positions
    }
  }

  /// The adjoint for an axis of `length` positions.
  func adjoint(length: Int) -> Resample.Rule {
    let terms: [[Resample.Term]?]
    switch self {
    case .interpolated(let samples): terms = samples.terms(length)
    case .weighted(let own, _): terms = own
    }
    var transposed = [[Resample.Term]](repeating: [], count: length)
    for (index, terms) in terms.enumerated() {
      for term in terms ?? [] { transposed[term.position].append(Resample.Term(position: index, weight: term.weight)) }
    }
    return .weighted(transposed, fill: 0)
  }
}

/// Samples at even distances, as PyTorch's `interpolate` takes them.
package struct EvenSamples: Sendable, Hashable {
  /// How many there are.
  package var size: Int
  package var interpolation: Interpolation
  /// What the length was multiplied by, if a factor was given; else it follows from the size.
  package var factor: Double?
  /// Whether the first and last sample are the first and last position.
  package var alignCorners: Bool

  package init(size: Int, _ interpolation: Interpolation, factor: Double? = nil, alignCorners: Bool = false) {
    (self.size, self.interpolation, self.factor, self.alignCorners) = (size, interpolation, factor, alignCorners)
  }

  /// The weights of positions in each sample of an axis of `length`.
  func terms(_ length: Int) -> [[Resample.Term]?] {
    if interpolation.isNearest { return nearest(length).map { [Resample.Term(position: $0, weight: 1)] } }
    return blends(length).map { blend in
      let (at, weight) = (blend.at, blend.weight)
      return zip([at.0, at.1, at.2, at.3], [weight.0, weight.1, weight.2, weight.3]).compactMap {
        $1 == 0 ? nil : Resample.Term(position: $0, weight: $1)
      }
    }
  }

  /// PyTorch computes these positions in float32 whatever the elements are.
  package func nearest(_ length: Int) -> [Int] {
    if size == length { return Array(0..<size) }
    if size == 2 * length { return (0..<size).map { $0 / 2 } }
    let scale = factor.map { Float(1 / $0) } ?? Float(length) / Float(size)
    let shift: Float = interpolation == .nearestExact ? 0.5 : 0
    return (0..<size).map { sample(at: Double((Float($0) + shift) * scale), length) }
  }

  /// The sample at or before a position, kept inside the axis before it becomes a whole number.
  ///
  /// NaN, which 0 times an infinite scale gives, is the first sample.
  private func sample(at position: Double, _ length: Int) -> Int {
    position > 0 ? Int(min(position, Double(length - 1))) : 0
  }

  /// The samples and weights of one position.
  package struct Blend {
    package var at: (Int, Int, Int, Int)
    package var weight: (Double, Double, Double, Double)
  }

  private func position(_ index: Int, _ length: Int) -> Double {
    if alignCorners { return size > 1 ? Double(index) * Double(length - 1) / Double(size - 1) : 0 }
    let scale = factor.map { 1 / $0 } ?? Double(length) / Double(size)
    // From there on all samples are the last one, and the distance to a whole number would be NaN at infinity.
    return min(scale * (Double(index) + 0.5) - 0.5, Double(length))
  }

  package func blends(_ length: Int) -> [Blend] {
    // Of a whole factor the fractions are those of its phases, to the bit, so that a piece has the weights of the whole.
    let whole =
      alignCorners || size % length != 0 || factor.map { $0 != Double(size / length) } ?? false ? 0 : size / length
    return (0..<size).map { index in
      let here = position(index, length)
      var floor = here.rounded(.down)
      var t = here - floor
      if whole > 0 {
        let (twice, unit) = (2 * index + 1 - whole, 2 * whole)
        floor = Double(floorDivide(twice, unit))
        t = Double(twice - floorDivide(twice, unit) * unit) / Double(unit)
      }
      guard interpolation == .cubic else {
        // PyTorch takes the same size as a copy, whatever the factor says.
        if size == length { return Blend(at: (index, min(index + 1, length - 1), index, index), weight: (1, 0, 0, 0)) }
        let isInside = floor >= 0
        let low = isInside ? sample(at: floor, length) : 0
        let rest = isInside ? min(max(floor + t - Double(low), 0), 1) : 0
        let weight = isInside && Double(low) == floor ? t : rest
        return Blend(at: (low, min(low + 1, length - 1), low, low), weight: (1 - weight, weight, 0, 0))
      }
      func clamp(_ offset: Double) -> Int { Int(min(max(floor + offset, 0), Double(length - 1))) }
      func weight(_ distance: Double) -> Double { Interpolation.cubicWeight(distance, coefficient: -0.75) }
      return Blend(
        at: (clamp(-1), clamp(0), clamp(1), clamp(2)),
        weight: (weight(t + 1), weight(t), weight(1 - t), weight(2 - t)))
    }
  }
}

extension Tensor {
  /// One axis sampled at `size` positions.
  ///
  /// - Parameters:
  ///   - factor: outputs per input, where it is not exactly the ratio of the sizes.
  ///   - alignCorners: whether first and last positions fall on first and last samples; linear and cubic only.
  /// - Throws: ``ToeplitzError`` if the axis is empty or does not exist, or the factor is not a number above 0.
  package func resampled(
    axis: Int, size: Int, _ interpolation: Interpolation, factor: Double? = nil, alignCorners: Bool = false
  ) throws -> Tensor {
    let samples = EvenSamples(size: size, interpolation, factor: factor, alignCorners: alignCorners)
    return try apply(Resample(axis: axis, .interpolated(samples)), self)
  }

  /// One axis made of weighted sums of its positions.
  ///
  /// - Parameters:
  ///   - terms: for each output position the positions and weights of its terms; nil for one that holds `fill`.
  /// - Throws: ``ToeplitzError`` if a position does not exist.
  package func resampled(
    axis: Int, terms: [[(position: Int, weight: Double)]?], fill: Double = 0
  ) throws -> Tensor {
    let at = try shape.normalizedAxis(axis, operation: "resize")
    for term in terms.lazy.compactMap({ $0 }).joined() where !(0..<shape[at]).contains(term.position) {
      throw ToeplitzError(
        .argument, "resize", expected: "positions in 0..<\(shape[at])", got: "\(term.position)")
    }
    let own = terms.map { $0?.map { Resample.Term(position: $0.position, weight: $0.weight) } }
    return try apply(Resample(axis: axis, .weighted(own, fill: fill)), self)
  }
}
