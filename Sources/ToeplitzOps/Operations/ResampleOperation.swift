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

  /// Whether a position takes one sample as it is.
  public var isNearest: Bool { self == .nearest || self == .nearestExact }
}

/// One axis sampled at other positions.
package struct Resample: TensorOperation {
  package var axis: Int
  package var size: Int
  package var interpolation: Interpolation
  /// Outputs per input; if nil the ratio of the sizes.
  package var factor: Double?
  /// Whether the first and last samples fall on the first and last positions.
  package var alignCorners: Bool
  package var name: String { "Upsample" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let (shape, dtype) = (inputs[0].shape, inputs[0].dtype)
    let axis = try shape.normalizedAxis(axis, operation: name)
    try require(
      interpolation.isNearest || dtype.isFloatingPoint, .dtype, expected: "floating-point elements",
      got: "\(dtype)")
    try require(shape[axis] > 0, expected: "at least 1 position on axis \(axis)", got: "shape \(shape)")
    if let factor {
      // A factor so small that its inverse is infinite names no position either.
      try require(
        factor > 0 && factor.isFinite && (1 / factor).isFinite, .argument, expected: "a finite factor above 0",
        got: "\(factor)")
    }
    try require(size > 0, expected: "an output of at least 1 position on axis \(axis)", got: "\(size)")
    return [TensorSpec(shape.replacing(axis, by: size), dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] }
      let axis = try call.x.shape.normalizedAxis(axis, operation: name)
      let adjoint = WeightedResample(axis: axis, terms: terms(call.x.shape[axis]), fill: 0)
        .adjoint(length: call.x.shape[axis])
      return [try apply(adjoint, call.dy)]
    }
  }

  /// The samples of each output position with their weights, for an input of `length` positions.
  private func terms(_ length: Int) -> [[WeightedResample.Term]?] {
    if interpolation.isNearest { return nearest(length).map { [WeightedResample.Term(position: $0, weight: 1)] } }
    return blends(length).map { blend in
      let (at, weight) = (blend.at, blend.weight)
      return zip([at.0, at.1, at.2, at.3], [weight.0, weight.1, weight.2, weight.3]).compactMap {
        $1 == 0 ? nil : WeightedResample.Term(position: $0, weight: $1)
      }
    }
  }

  // MARK: Positions

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
    (0..<size).map { index in
      let here = position(index, length)
      guard interpolation == .cubic else {
        // PyTorch takes the same size as a copy, whatever the factor says.
        let from = size == length ? Double(index) : max(0, here)
        let low = sample(at: from, length)
        let rest = min(max(from - Double(low), 0), 1)
        return Blend(at: (low, min(low + 1, length - 1), low, low), weight: (1 - rest, rest, 0, 0))
      }
      let floor = here.rounded(.down)
      let t = here - floor
      func clamp(_ offset: Double) -> Int { Int(min(max(floor + offset, 0), Double(length - 1))) }
      let a = -0.75
      func near(_ x: Double) -> Double { ((a + 2) * x - (a + 3)) * x * x + 1 }
      func far(_ x: Double) -> Double { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
      return Blend(
        at: (clamp(-1), clamp(0), clamp(1), clamp(2)),
        weight: (far(t + 1), near(t), near(1 - t), far(2 - t)))
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "the number of positions decides where samples are taken")
  }
}

extension Tensor {
  /// One axis sampled at `size` positions.
  ///
  /// - Parameters:
  ///   - factor: outputs per input, where it is not exactly the ratio of the sizes.
  ///   - alignCorners: whether first and last positions fall on first and last samples; linear and cubic only.
  /// - Throws: ``ToeplitzError`` if the axis is empty or does not exist, or the factor is not a number above 0.
  public func resampled(
    axis: Int, size: Int, _ interpolation: Interpolation, factor: Double? = nil, alignCorners: Bool = false
  ) throws -> Tensor {
    try apply(
      Resample(
        axis: axis, size: size, interpolation: interpolation, factor: factor, alignCorners: alignCorners),
      self)
  }
}
