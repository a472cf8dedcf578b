import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// Weight and bias of a pointwise convolution as the right operand of a product.
struct PreparedLinearMap: Sendable {
  let matrix: PackedMatrix
  let bias: Tensor?
  let epilogue: Epilogue

  init(_ stage: ConvolutionStage, _ operands: ArraySlice<Tensor>) throws {
    let operands = Array(operands)
    matrix = try LinearPackings.packed(stage.operation.geometry, operands[0], factors: nil)
    bias = try stage.hasBias ? PackedMatrix.padded(operands[1].cast(to: .float32)) : nil
    epilogue = stage.operation.epilogue
  }

  /// The map of one row.
  func callAsFunction(_ x: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>) {
    let table = tz_products_kernels(InstructionSet.current.code)
    withUnsafePointer(to: epilogue.ending()) { ending in
      MatrixProduct(
        a: x, aRow: matrix.steps, aStep: 1, c: y, cRow: matrix.columns, rows: 1,
        start: bias.map { UnsafePointer($0.pointer(Float.self)) }, epilogue: epilogue == Epilogue() ? nil : ending
      ).run(matrix, table: table)
    }
  }
}

extension SqueezeExcitation: CPUKernel {
  var packedOperands: [Int] {
    var packed: [Int] = []
    forEachStage(Array(0..<stages.reduce(1) { $0 + $1.weightCount })) { packed.append($1[$1.startIndex]) }
    return packed
  }

  var makesNewResults: Bool { true }
  var mayOverwrite: Bool { true }

  func overwriting(_ operands: inout [Tensor]) -> Self {
    var operation = self
    operation.overwrites = operands[0].ownsStorage()
    return operation
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let maps = try prepared.value(of: inputs[1...]) {
      var maps: [PreparedLinearMap] = []
      try forEachStage(inputs) { maps.append(try PreparedLinearMap($0, $1)) }
      return maps
    }
    let (x, distance) = try inputs[0].rows(ofLast: 2)
    let size = x.shape[2] * x.shape[3]
    // Rows that do not overlap, as those of a broadcast image would.
    let result =
      overwrites && distance >= size ? x : try Tensor(uninitialized: x.shape, dtype: .float32, operation: name)
    guard result.count > 0 else { return [result] }
    let (channels, squeezed) = (x.shape[1], maps[0].matrix.columns)
    let step = overwrites && distance >= size ? distance : size
    let code = InstructionSet.current.code
    let (rows, elements) = (tz_rows_kernels(code).pointee, tz_elementwise_kernels(code))
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * channels + squeezed) { memory in
      guard let means = memory.baseAddress else { return }
      let factors = means + channels
      for sample in 0..<x.shape[0] {
        let from = x.pointer(Float.self) + sample * channels * distance
        let to = result.pointer(Float.self) + sample * channels * step
        ThreadPool.shared.runRows(channels, width: size) { range in
          for channel in range { means[channel] = Float(rows.sum(from + channel * distance, size) / Double(size)) }
        }
        maps[0](means, to: factors + channels)
        maps[1](factors + channels, to: factors)
        ThreadPool.shared.runRows(channels, width: size) { range in
          for channel in range {
            tz_pairs_one(
              elements, TZ_MULTIPLY, from + channel * distance, factors + channel, to + channel * step, size)
          }
        }
      }
    }
    withExtendedLifetime((x, maps, result)) {}
    return [result]
  }
}
