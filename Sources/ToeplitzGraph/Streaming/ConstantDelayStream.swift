import ToeplitzOps
import ToeplitzTensor

/// A stream for callbacks of audio: n blocks in give exactly n · block · ratio output positions, of which the first ``delay`` are zeros.
///
/// A value, as ``TensorStream`` is.
///
/// ```swift
/// var stream = try decoder.streamPlan(shape: [1, 1, nil]).makeConstantDelayStream(block: 256)
/// let sound = try stream.process(x)
/// ```
public struct ConstantDelayStream: Sendable {
  /// Input positions of a block.
  public let block: Int
  /// Output positions of a block.
  public let outputBlock: Int
  /// By how many output positions the output is behind that of the whole, at all times.
  public let delay: Int
  private var stream: TensorStream
  /// What has come out of the stream and not yet gone out of here; nil only while a block is computed.
  private var pending: PositionQueue?

  init(_ plan: StreamPlan, block: Int) throws {
    try StreamPlan.require(block, "block")
    let ratio = plan.outputRatio
    guard block % ratio.denominator == 0 else {
      throw ToeplitzError(
        .argument, "ConstantDelayStream", expected: "a block of a multiple of \(ratio.denominator) positions",
        got: "\(block)")
    }
    self.block = block
    outputBlock = block / ratio.denominator * ratio.numerator
    delay = try Self.delay(plan, block, outputBlock)
    stream = try plan.makeStream()
    try stream.prepare(block, shorter: false)
    pending = try Self.zeros(plan, delay)
  }

  private static func zeros(_ plan: StreamPlan, _ count: Int) throws -> PositionQueue {
    try PositionQueue(Self.outputSpec(plan, 0), axis: plan.outputAxes[0], zeros: count)
  }

  private static func outputSpec(_ plan: StreamPlan, _ count: Int) -> TensorSpec {
    plan.engine.network.spec(plan.engine.network.outputs[0], length: count)
  }

  /// The most positions that are ever missing after a number of blocks.
  private static func delay(_ plan: StreamPlan, _ block: Int, _ outputBlock: Int) throws -> Int {
    let counting = plan.engine.counting
    let place = counting.place(plan.engine.network.outputs[0])
    let cycle = plan.blockSize / gcd(plan.blockSize, block)
    var counters = counting.beginning
    var most = 0
    // Past the filling of all delays, then through a whole cycle.
    let rounds = (plan.steadyLength + block - 1) / block + cycle
    for round in 1...rounds {
      _ = try counting.advance(&counters, by: block, ends: false)
      most = max(most, round * outputBlock - counters.known[place])
    }
    return most
  }

  /// The plan it follows.
  public var plan: StreamPlan { stream.plan }

  /// Input positions so far.
  public var position: Int { stream.position }

  /// Takes a block and gives as many output positions as belong to one.
  ///
  /// - Throws: ``ToeplitzError`` if the tensor does not fit or the stream has ended; the stream is as it was then.
  public mutating func process(_ block: Tensor) throws -> Tensor {
    guard try plan.length(of: block, "ConstantDelayStream") == self.block, !block.isTraced else {
      throw ToeplitzError(
        .shape, "ConstantDelayStream", expected: "\(self.block) computed positions on axis \(plan.timeAxis)",
        got: "\(block.spec)")
    }
    let spec = Self.outputSpec(plan, outputBlock)
    let result = try Tensor(uninitialized: spec.shape, dtype: spec.dtype, operation: "stream")
    try process(result.elements) {
      $0.input.fillOnce(from: block)
    } otherwise: {
      block
    }
    return result
  }

  /// Takes a block from a buffer and writes as many output positions as belong to one into another, in row-major order.
  ///
  /// It allocates no memory where ``TensorStream/push(_:into:)`` does not.
  ///
  /// - Throws: As ``process(_:)``, or if the buffers are not just as long as that takes.
  public mutating func process<Scalar: TensorScalar>(
    _ block: UnsafeBufferPointer<Scalar>, into target: UnsafeMutableBufferPointer<Scalar>
  ) throws {
    let (plan, count) = (plan, self.block)
    let engine = plan.engine
    let (size, room) = (engine.inputWidth * count, engine.outputWidth * outputBlock)
    guard target.count == room, Scalar.dtype == engine.outputType else {
      throw ToeplitzError(
        .shape, "ConstantDelayStream", expected: "room for \(room) elements of \(engine.outputType)",
        got: "\(target.count) of \(Scalar.dtype)")
    }
    guard block.count == size, Scalar.dtype == plan.input.dtype else {
      throw ToeplitzError(
        .shape, "ConstantDelayStream", expected: "a block of \(size) elements of \(plan.input.dtype)",
        got: "\(block.count) of \(Scalar.dtype)")
    }
    guard let source = block.baseAddress, let to = target.baseAddress else { return }
    try process(UnsafeMutableRawPointer(to)) {
      $0.inputRows.write(from: source, at: 0, of: count)
    } otherwise: {
      try Tensor(
        bytes: UnsafeRawBufferPointer(block), shape: plan.input.shape.replacing(plan.timeAxis, by: count),
        dtype: Scalar.dtype)
    }
  }

  /// Ends the stream: gives all that has not gone out, ``delay`` positions and what the end of the input adds.
  ///
  /// - Throws: As ``TensorStream/finish()``.
  public mutating func finish() throws -> Tensor {
    let end = try stream.finish()
    defer { pending = nil }
    return try Tensor.concatenate([pending.map { try $0.waiting }, end].compactMap { $0 }, axis: plan.outputAxes[0])
  }

  /// Goes back to the beginning.
  public mutating func reset() throws {
    try stream.reset()
    pending = try Self.zeros(plan, delay)
  }

  /// Computes a block.
  ///
  /// - Parameters:
  ///   - target: where the output positions of a block go.
  ///   - give: writes the block to where it is computed in place.
  ///   - otherwise: the block, if it is not.
  private mutating func process(
    _ target: UnsafeMutableRawPointer, give: (PreparedPushes.Push) throws -> Void, otherwise: () throws -> Tensor
  ) throws {
    // Taken out, since who shares its memory would have to copy it.
    guard var queue = pending.take() else {
      throw ToeplitzError(
        .argument, "ConstantDelayStream", expected: "a stream that goes on", got: "one that was finished")
    }
    defer { pending = queue }
    if try stream.outputCountInPlace(for: block, pieces: false) != nil {
      try stream.pushInPlace(block) { push, _ in
        try give(push)
      } take: { push, _ in
        if let output = push.output { try queue.append(push.outputCount, of: output) }
      }
    } else {
      let made = try stream.push(otherwise())
      let axis = plan.outputAxes[0]
      try queue.append(made.shape[axis], of: StridedRows(contiguous: made.contiguous(), axis: axis))
    }
    try queue.removeFirst(outputBlock, into: target)
  }
}

extension StreamPlan {
  /// A stream that gives as much for every block, for callbacks of audio.
  ///
  /// - Parameter block: input positions of a block, a multiple of the output ratio's denominator.
  /// - Throws: ``ToeplitzError`` of kind `argument` if it is none.
  public func makeConstantDelayStream(block: Int) throws -> ConstantDelayStream {
    try ConstantDelayStream(self, block: block)
  }
}
