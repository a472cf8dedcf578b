import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension SeparableConvolution: CPUKernel {
  package var makesNewResults: Bool { true }

  package var packedOperands: [Int] {
    stages.indices.map { index in stages[..<index].reduce(1) { $0 + $1.weightCount } }
  }

  package func fillsViews(_ inputs: [TensorSpec]) -> Bool { inputs[0].dtype == .float32 && inputs[0].shape.rank == 4 }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let residuals = Array(inputs.suffix(residualCount))
    if let result = try prepared(inputs, result: outputs[0].shape)?(inputs[0], residuals: residuals) { return [result] }
    let first = stages[0]
    let operands = Array(inputs.prefix(1 + first.weightCount + first.operation.residualCount))
    let middle = try first.operation.evaluate(operands, first.operation.infer(operands.map(\.spec)))
    if stages.count == 1 { return middle }
    return try Self(Array(stages.dropFirst())).evaluate(middle + inputs.dropFirst(operands.count), outputs)
  }

  /// The convolutions with their weights in the order of the kernels.
  package final class Prepared: Sendable {
    private let parts: [SeparablePart]
    private let last: ConvolutionStage
    private let result: TensorShape
    private let idle = IdleObjects<SeparableRun>(limit: 8)

    fileprivate init(_ parts: [SeparablePart], _ last: ConvolutionStage, _ result: TensorShape) {
      self.parts = parts
      self.last = last
      self.result = result
    }

    /// The result for an input and residuals of the shapes that it was prepared for, in the given tensor if there is one; nil
    /// where no kernels compute all at once.
    package func callAsFunction(_ x: Tensor, residuals: [Tensor] = [], into view: Tensor? = nil) throws -> Tensor? {
      let y = try view ?? last.operation.memory(result, .float32)
      guard
        let run = try idle.take({ try $0.fits(input: x, output: y) })
          ?? SeparableRun.make(parts, input: x, output: y)
      else { return nil }
      try run(input: x, output: y, residuals: residuals)
      idle.give(run)
      return y
    }
  }

  /// The convolutions with prepared weights, for an input of this shape and a result of that; nil where no kernels compute all
  /// at once.
  package func prepared(_ inputs: [Tensor], result: TensorShape) throws -> Prepared? {
    guard inputs[0].dtype == .float32, inputs[0].rank == 4,
      stages.dropLast().allSatisfy({ $0.operation.residualCount == 0 }),
      stages.allSatisfy({ $0.operation.layout == .channelsFirst }), Self.supports(stages.map(\.operation.geometry))
    else { return nil }
    var next = 1
    let parts = try stages.map { stage in
      defer { next += stage.weightCount }
      let operation = stage.operation
      let kept = try stage.pack(inputs[next..<(next + stage.weightCount)])
      return SeparablePart(
        geometry: operation.geometry, packed: kept.packed, runs: kept.runs, epilogue: operation.epilogue)
    }
    return Prepared(parts, stages[stages.count - 1], result)
  }
}
