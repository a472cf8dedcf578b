import ToeplitzTensor

/// The softmax along one axis, or its logarithm.
package struct AxisSoftmax: TensorOperation {
  package var axis: Int
  package var isLogarithmic: Bool
  package init(axis: Int, isLogarithmic: Bool) { (self.axis, self.isLogarithmic) = (axis, isLogarithmic) }

  package var name: String { isLogarithmic ? "LogSoftmax" : "Softmax" }

  package func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 1)
    try require(
      inputs[0].dtype.isFloatingPoint, .dtype, expected: "floating-point elements", got: "\(inputs[0].dtype)")
    if inputs[0].shape.rank > 0 || ![0, -1].contains(axis) {
      _ = try inputs[0].shape.normalizedAxis(axis, operation: name)
    }
    return inputs
  }

  package var gradient: GradientRule {
    .vjp { call in
      let (y, dy) = (call.y, try call.dy)
      guard y.rank > 0 else { return [try dy * 0] }
      if isLogarithmic { return [try dy - y.exp() * dy.sum([axis], keepsAxes: true)] }
      return [try y * (dy - (dy * y).sum([axis], keepsAxes: true))]
    }
  }

  package func time(_ call: TimeCall) -> TimeRule {
    .pointwise(call, except: [axis], because: "it divides by a sum over all positions")
  }
}

extension AxisSoftmax: PairOperation {
  package func pairs(_ call: PairCall) -> PairRule {
    guard call.joinsKeys, !isLogarithmic else { return call.plain }
    return call.has(.masked)
      ? .shares : .refused(because: "it divides by a sum over all positions, of which no mask leaves any out")
  }

  package func joinedAxes(_ shape: TensorShape) -> (axes: [Int], areKept: Bool) {
    ([try? shape.normalizedAxis(axis, operation: name)].compactMap { $0 }, true)
  }
}

extension Tensor {
  /// Exponentials along `axis` divided by their sum.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis or the elements are not floating-point numbers.
  public func softmax(axis: Int) throws -> Tensor {
    try apply(AxisSoftmax(axis: axis, isLogarithmic: false), self)
  }

  /// The logarithm of ``softmax(axis:)``, without its loss of digits.
  ///
  /// - Throws: ``ToeplitzError`` if there is no such axis or the elements are not floating-point numbers.
  public func logSoftmax(axis: Int) throws -> Tensor {
    try apply(AxisSoftmax(axis: axis, isLogarithmic: true), self)
  }
}
