import CToeplitzKernels
import ToeplitzGraph
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

  /// What computes the map of one row.
  func computation(_ x: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>) -> () -> Void {
    let kept = KeptEpilogue(epilogue)
    let compute = MatrixProduct(
      a: x, aRow: matrix.steps, aStep: 1, c: y, cRow: matrix.columns, rows: 1,
      start: bias.map { UnsafePointer($0.pointer(Float.self)) }, epilogue: kept?.address
    ).computation(matrix, table: tz_products_kernels(InstructionSet.current.code))
    return { withExtendedLifetime((kept, bias)) { compute() } }
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
    let maps = try maps(inputs)
    let (x, distance) = try inputs[0].rows(ofLast: 2)
    let size = x.shape[2] * x.shape[3]
    // Rows that do not overlap, as those of a broadcast image would.
    let isInPlace = overwrites && distance >= size
    let result = isInPlace ? x : try Tensor(uninitialized: x.shape, dtype: .float32, operation: name)
    guard result.count > 0 else { return [result] }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: scratchCount(x.shape)) { memory in
      guard let scratch = memory.baseAddress else { return }
      computation(x, distance, to: result, isInPlace ? distance : size, maps, scratch)()
    }
    return [result]
  }

  func bound(_ call: BoundCall) throws -> BoundComputation? {
    let (x, distance) = try call.operands[0].rows(ofLast: 2)
    let (result, step) = try call.results[0].rows(ofLast: 2)
    guard call.areConstant.dropFirst().allSatisfy({ $0 }), result.count > 0, x.storage === call.operands[0].storage,
      result.storage === call.results[0].storage
    else { return nil }
    let block = try call.memory.take(4 * scratchCount(x.shape), operation: name)
    // Nobody needs it afterwards.
    defer { call.memory.give(block) }
    let compute = computation(
      x, distance, to: result, step, try maps(call.operands), block.base.assumingMemoryBound(to: Float.self))
    return { withExtendedLifetime(block) { compute() } }
  }

  private func maps(_ inputs: [Tensor]) throws -> [PreparedLinearMap] {
    try prepared.value(of: inputs[1...]) {
      var maps: [PreparedLinearMap] = []
      try forEachStage(inputs) { maps.append(try PreparedLinearMap($0, $1)) }
      return maps
    }
  }

  /// Numbers that lie between the operations for an image of some shape.
  private func scratchCount(_ shape: TensorShape) -> Int {
    2 * shape[0] * shape[1] + stages[0].operation.geometry.outChannels
  }

  /// What computes the operation.
  ///
  /// - Parameters:
  ///   - distance: elements between the channels of x.
  ///   - step: elements between those of the result.
  ///   - scratch: memory for ``scratchCount(_:)`` numbers.
  private func computation(
    _ x: Tensor, _ distance: Int, to result: Tensor, _ step: Int, _ maps: [PreparedLinearMap],
    _ scratch: UnsafeMutablePointer<Float>
  ) -> () -> Void {
    let (size, channels) = (x.shape[2] * x.shape[3], x.shape[1])
    let count = x.shape[0] * channels
    let (means, factors, squeezed) = (scratch, scratch + count, scratch + 2 * count)
    let code = InstructionSet.current.code
    let (rows, elements) = (tz_rows_kernels(code).pointee, tz_elementwise_kernels(code))
    let (from, to) = (x.pointer(Float.self), result.pointer(Float.self))
    let squeeze = ThreadPool.shared.sharingRows(count, width: size) { range in
      for row in range { means[row] = Float(rows.sum(from + row * distance, size) / Double(size)) }
    }
    let excite = (0..<x.shape[0]).flatMap { sample in
      [
        maps[0].computation(means + sample * channels, to: squeezed),
        maps[1].computation(squeezed, to: factors + sample * channels),
      ]
    }
    let scale = ThreadPool.shared.sharingRows(count, width: size) { range in
      for row in range {
        tz_pairs_one(elements, TZ_MULTIPLY, from + row * distance, factors + row, to + row * step, size)
      }
    }
    return {
      squeeze()
      for map in excite { map() }
      scale()
      withExtendedLifetime((x, result)) {}
    }
  }
}
