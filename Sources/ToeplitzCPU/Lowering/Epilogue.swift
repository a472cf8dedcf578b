import ToeplitzOps
import ToeplitzTensor

/// What is computed together with a convolution while its data is in registers.
///
/// The result is `activation(leaky(outputScale × (convolution(leaky(x, inputSlope)) + residuals), outputSlope))`; the
/// residuals are operands of the operation.
package struct Epilogue: Sendable, Hashable {
  /// Inputs below zero are multiplied by this first (a leaky rectifier before the layer); 1 for nothing.
  package var inputSlope: Double
  /// Factor of the sum.
  package var outputScale: Double
  /// Results below zero are multiplied by this; 1 for nothing.
  package var outputSlope: Double
  /// What is applied last.
  package var activation: Activation?

  /// An epilogue of the given parts.
  package init(
    inputSlope: Double = 1, outputScale: Double = 1, outputSlope: Double = 1, activation: Activation? = nil
  ) {
    self.inputSlope = inputSlope
    self.outputScale = outputScale
    self.outputSlope = outputSlope
    self.activation = activation
    // The rectifiers have a place of their own, in registers.
    if case .leakyReLU(let slope) = activation, outputSlope == 1 {
      self.outputSlope = slope
      self.activation = nil
    }
  }

  /// The bounds of results, if it does nothing but bound them.
  var bounds: (low: Double, high: Double)? {
    switch self {
    case Epilogue(): return (-.infinity, .infinity)
    case Epilogue(outputSlope: 0): return (0, .infinity)
    default:
      guard case .clamp(let low, let high)? = activation, self == Epilogue(activation: activation) else { return nil }
      return (low, high)
    }
  }

  /// What is left to do with the sums where a kernel has not done it.
  ///
  /// - Parameter residuals: tensors that are added first.
  package func finish(_ sums: Tensor, adding residuals: [Tensor] = []) throws -> Tensor {
    var result = try residuals.reduce(sums) { try $0 + $1 }
    if outputScale != 1 { result = try result * outputScale }
    if outputSlope != 1 { result = try result.leakyReLU(negativeSlope: outputSlope) }
    return try activation.map { try $0(result) } ?? result
  }
}
