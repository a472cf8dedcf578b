import ToeplitzTensor

/// An operation whose work is counted in multiply-adds.
package protocol CountedOperation: TensorOperation {
  /// The multiply-adds for operands of the given shapes.
  ///
  /// - Throws: ``ToeplitzError`` if the operands do not fit.
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int
}

extension ConvolutionOperation: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    let shape = inputs[0].shape
    if isLinear { return shape.dropLast().reduce(1, *) * geometry.inChannels * geometry.outChannels }
    let channel = channelAxis(shape.rank)
    let first = layout == .channelsFirst ? channel + 1 : channel - geometry.rank
    let samples = shape.rank == geometry.rank + 2 ? shape[0] : 1
    return try samples * geometry.multiplyAdds(inputSize: Array(shape[first..<(first + geometry.rank)]))
  }
}

extension ResidualUnit: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    let operands = [inputs[0]] + operands(inputs).first
    let middle = try firstStage.operation.infer(operands)
    return try firstStage.operation.multiplyAdds(operands) + secondStage.operation.multiplyAdds(middle)
  }
}

extension SeparableConvolution: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    var sum = 0
    _ = try fold(inputs) { operation, operands in
      sum += try operation.multiplyAdds(operands)
      return try operation.infer(operands)
    }
    return sum
  }
}

extension MatrixMultiply: CountedOperation {
  package func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    try infer(inputs)[0].shape.reduce(inputs[0].shape.last ?? 1, *)
  }
}
