import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The mean of codes over some axes, as codes: the sums are exact, `y = clamp(round(float(sum) · (sx / (n · sy))) + zy)`.
///
/// Operands are the codes, their scale and zero point, and those of the result.
struct QuantizedMean: TensorOperation {
  let reduction: Reduction
  private let scales = KeptValue<[CodeScale]>()

  /// The mean that a reduction of numbers is; nil for other reductions, and for more than int32 sums can hold.
  init?(_ reduction: Reduction, of shape: TensorShape) {
    guard reduction.function == .mean, let gone = try? reduction.reduced(shape), gone.count < shape.rank,
      (1...1 << 22).contains(gone.reduce(1) { $0 * shape[$1] })
    else { return nil }
    self.reduction = reduction
  }

  var name: String { "QuantizedMean" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 5)
    let result = try reduction.infer([TensorSpec(inputs[0].shape, .float32)])[0]
    return [TensorSpec(result.shape, inputs[4].dtype)]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension QuantizedMean: CPUKernel {
  var makesNewResults: Bool { true }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    let scales = try scales.value(of: inputs[1...]) {
      try [
        CodeScale(x.dtype, scale: inputs[1], zero: inputs[2]),
        CodeScale(outputs[0].dtype, scale: inputs[3], zero: inputs[4]),
      ]
    }
    let (from, to) = (scales[0], scales[1])
    let gone = try reduction.reduced(x.shape)
    let kept = x.shape.indices.filter { !gone.contains($0) }
    let width = gone.reduce(1) { $0 * x.shape[$1] }
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    guard result.count > 0 else { return [result] }
    let sums = try Self.sums(x.permuted(kept + gone), kept: kept.count, width: width, flip: from.flip)
    let factor = from.scale / (Float(width) * to.scale)
    let bounds = to.bounds(Epilogue())
    let codes = result.elements.assumingMemoryBound(to: UInt8.self)
    for (index, sum) in sums.enumerated() {
      codes[index] = to.code(Float(sum - from.zero * Int32(width)) * factor, bounds)
    }
    withExtendedLifetime(result) {}
    return [result]
  }

  /// The sums of codes, made unsigned, over the axes that follow the first `kept` ones.
  private static func sums(_ x: Tensor, kept: Int, width: Int, flip: UInt8) throws -> [Int32] {
    let count = x.shape.dimensions[..<kept].reduce(1, *)
    var sums = [Int32](repeating: 0, count: count)
    let code = InstructionSet.current.code
    func bytes(_ tensor: Tensor) -> UnsafeMutablePointer<UInt8> { tensor.elements.assumingMemoryBound(to: UInt8.self) }
    // Channels that lie side by side: columns.
    let columns = x.shape[kept - 1]
    if columns > 1, x.strides[kept - 1] == 1, let row = x.step(kept..<x.rank), let sample = x.step(0..<(kept - 1)) {
      sums.withUnsafeMutableBufferPointer { sums in
        for index in 0..<(count / columns) {
          tz_bytes_add_rows(
            code, bytes(x) + index * sample, row, width, columns, flip, sums.baseAddress.map { $0 + index * columns })
        }
      }
    } else {
      let (rows, distance) = try x.rows(ofLast: x.rank - kept)
      for index in 0..<count { sums[index] = tz_bytes_sum(code, bytes(rows) + index * distance, width, flip) }
      withExtendedLifetime(rows) {}
    }
    withExtendedLifetime(x) {}
    return sums
  }
}
