import ToeplitzTensor

/// One axis made of weighted sums of its positions.
package struct WeightedResample: TensorOperation {
  /// A term of an output position; no position stands for `fill`.
  package struct Term: Sendable, Hashable {
    package var position: Int
    package var weight: Double
  }

  package var axis: Int
  /// For each output position its terms; nil for one that holds `fill`.
  package var terms: [[Term]?]
  package var fill: Double
  package var name: String { "resize" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    return [TensorSpec(inputs[0].shape.replacing(axis, by: terms.count), inputs[0].dtype)]
  }

  package var gradient: GradientRule {
    .vjp { call in
      guard call.x.dtype.isFloatingPoint else { return [nil] }
      let length = call.x.shape[try call.x.shape.normalizedAxis(axis, operation: name)]
      return [try apply(adjoint(length: length), call.dy)]
    }
  }

  /// The transposed map: for each of `length` input positions the outputs that it is a term of.
  func adjoint(length: Int) -> WeightedResample {
    var transposed = [[Term]](repeating: [], count: length)
    for (index, terms) in terms.enumerated() {
      for term in terms ?? [] { transposed[term.position].append(Term(position: index, weight: term.weight)) }
    }
    return WeightedResample(axis: axis, terms: transposed, fill: 0)
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "each output position has terms of its own")
  }
}

extension Tensor {
  /// One axis made of weighted sums of its positions.
  ///
  /// - Parameters:
  ///   - terms: for each output position the positions and weights of its terms; nil for one that holds `fill`.
  /// - Throws: ``ToeplitzError`` if a position does not exist.
  public func resampled(
    axis: Int, terms: [[(position: Int, weight: Double)]?], fill: Double = 0
  ) throws -> Tensor {
    let at = try shape.normalizedAxis(axis, operation: "resize")
    for term in terms.lazy.compactMap({ $0 }).joined() where !(0..<shape[at]).contains(term.position) {
      throw ToeplitzError(
        .argument, "resize", expected: "positions in 0..<\(shape[at])", got: "\(term.position)")
    }
    let own = terms.map { $0?.map { WeightedResample.Term(position: $0.position, weight: $0.weight) } }
    return try apply(WeightedResample(axis: axis, terms: own, fill: fill), self)
  }
}
