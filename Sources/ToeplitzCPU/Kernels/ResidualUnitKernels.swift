import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ResidualUnit: CPUKernel {
  package var makesNewResults: Bool { true }

  package var packedOperands: [Int] { [1, 1 + firstStage.weightCount] }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let operands = operands(inputs)
    let residuals = [inputs[0]] + [operands.extra].compactMap { $0 }
    if let result = try evaluateTogether(inputs[0], operands.first, operands.second, residuals) { return [result] }
    let first = [inputs[0]] + operands.first
    let middle = try firstStage.operation.evaluate(first, firstStage.operation.infer(first.map(\.spec)))
    return try secondStage.operation.evaluate(middle + operands.second + residuals, outputs)
  }

  /// The result in one pass, or nil where there is no such way or it would be slower.
  private func evaluateTogether(
    _ x: Tensor, _ first: ArraySlice<Tensor>, _ second: ArraySlice<Tensor>, _ residuals: [Tensor]
  ) throws -> Tensor? {
    guard ResidualUnitRun.supports(self.first, self.second, x.dtype) else { return nil }
    func batched(_ tensor: Tensor) -> Tensor {
      guard tensor.rank == 2 else { return tensor }
      return tensor.view(
        shape: TensorShape([1] + tensor.shape.dimensions), strides: [tensor.count] + tensor.strides,
        offset: tensor.offset)
    }
    let input = batched(x)
    let result = try Tensor(uninitialized: x.shape, dtype: x.dtype, operation: name)
    let isDone = try ResidualUnitRun.run(
      firstStage.pack(first), secondStage.pack(second).packed, input: input, output: batched(result),
      middleLength: self.first.outputSize([input.shape[2]])[0],
      middleSlope: secondStage.operation.epilogue.inputSlope, epilogue: epilogue, residuals: residuals.map(batched),
      name: name)
    return isDone ? result : nil
  }
}
