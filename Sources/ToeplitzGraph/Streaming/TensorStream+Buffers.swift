import ToeplitzOps
import ToeplitzTensor

extension TensorStream {
  /// How many positions of the first output the next push gives, if it has `count` positions.
  ///
  /// - Throws: ``ToeplitzError`` if the stream has ended or `count` is negative.
  public func outputCount(for count: Int) throws -> Int {
    guard (0...1 << 40).contains(count) else {
      throw ToeplitzError(.argument, "TensorStream", expected: "a number of positions", got: "\(count)")
    }
    let (next, _) = try next(by: count)
    let place = firstOutput
    return next.known[place] - counters.known[place]
  }

  private var firstOutput: Int { plan.engine.counting.place(plan.engine.network.outputs[0]) }

  /// Takes the next positions from a buffer and writes what is final of the first output into another.
  ///
  /// Both hold elements in row-major order: of an input `[1, 80, t]` the t positions of the first channel, then those of the second.
  ///
  /// - Returns: How many positions of the output were written, each of as many elements as the output has beside time.
  /// - Throws: ``ToeplitzError`` of kind `shape` if the elements make no whole positions or the room is too small
  ///   (``outputCount(for:)`` says how many positions come), of kind `dtype` if an element type is another. The stream is as it was
  ///   then.
  @discardableResult
  public mutating func push<Scalar: TensorScalar>(
    _ chunk: UnsafeBufferPointer<Scalar>, into target: UnsafeMutableBufferPointer<Scalar>
  ) throws -> Int {
    let network = plan.engine.network
    let (spec, output) = (plan.input, network.outputs[0])
    guard Scalar.dtype == spec.dtype, Scalar.dtype == network.specs[output].dtype else {
      throw ToeplitzError(
        .dtype, "TensorStream.push", expected: "\(spec.dtype) in and \(network.specs[output].dtype) out",
        got: "\(Scalar.dtype)")
    }
    let width = spec.shape.replacing(plan.timeAxis, by: 1).reduce(1, *)
    guard width > 0, chunk.count % width == 0 else {
      throw ToeplitzError(
        .shape, "TensorStream.push", expected: "a multiple of \(width) elements", got: "\(chunk.count)")
    }
    let count = chunk.count / width
    let (next, schedule) = try next(by: count)
    let made = schedule.new[firstOutput]
    let wanted = network.spec(output, length: made).shape.reduce(1, *)
    guard wanted <= target.count else {
      throw ToeplitzError(.shape, "TensorStream.push", expected: "room for \(wanted) elements", got: "\(target.count)")
    }
    let tensor = try Tensor(
      bytes: UnsafeRawBufferPointer(chunk), shape: spec.shape.replacing(plan.timeAxis, by: count), dtype: spec.dtype)
    let result = try advance(tensor, to: next, schedule)[0]
    try result.withElements(Scalar.self) { elements in
      if let source = elements.baseAddress { target.baseAddress?.update(from: source, count: elements.count) }
    }
    return made
  }

  /// Compiles what pushes of so many positions compute from here on, so that none of them has to.
  ///
  /// Shorter pushes are compiled when their pattern comes for the second time.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a number below 1 or a stream that has ended.
  public func prepare(maximumChunk: Int) throws {
    try StreamPlan.require(maximumChunk, "maximumChunk")
    var copy = self
    let zeros = try Tensor.zeros(plan.input.shape.replacing(plan.timeAxis, by: maximumChunk), dtype: plan.input.dtype)
    let cycle = plan.blockSize / gcd(plan.blockSize, maximumChunk)
    var compiled = 0
    // A pattern may repeat while a longer delay is filled; what takes too long is compiled while the stream runs.
    for _ in 0..<max(4096, 4 * cycle) where compiled < cycle || copy.position < plan.steadyLength {
      let (next, schedule) = try copy.next(by: maximumChunk)
      compiled = plan.engine.isCompiled(schedule) ? compiled + 1 : 0
      _ = try copy.advance(zeros, to: next, schedule)
    }
  }
}

/// The greatest common divisor.
func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? abs(a) : gcd(b, a % b) }
