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
    let engine = plan.engine
    guard Scalar.dtype == plan.input.dtype, Scalar.dtype == engine.outputType else {
      throw ToeplitzError(
        .dtype, "TensorStream.push", expected: "\(plan.input.dtype) in and \(engine.outputType) out",
        got: "\(Scalar.dtype)")
    }
    let width = engine.inputWidth
    guard width > 0, chunk.count % width == 0 else {
      throw ToeplitzError(
        .shape, "TensorStream.push", expected: "a multiple of \(width) elements", got: "\(chunk.count)")
    }
    let count = chunk.count / width
    func requireRoom(_ wanted: Int) throws {
      guard wanted > target.count else { return }
      throw ToeplitzError(.shape, "TensorStream.push", expected: "room for \(wanted) elements", got: "\(target.count)")
    }
    if let made = try outputCountInPlace(for: count, pieces: true) {
      try requireRoom(made * engine.outputWidth)
      guard let source = chunk.baseAddress else { return 0 }
      try pushInPlace(count) { push, first in
        push.inputRows.write(from: source, at: first, of: count)
      } take: { push, first in
        if let output = push.output, let to = target.baseAddress { output.read(to: to, at: first, of: made) }
      }
      return made
    }
    let (next, schedule) = try next(by: count)
    let made = schedule.new[firstOutput]
    try requireRoom(engine.network.spec(engine.network.outputs[0], length: made).shape.reduce(1, *))
    let tensor = try Tensor(
      bytes: UnsafeRawBufferPointer(chunk), shape: plan.input.shape.replacing(plan.timeAxis, by: count),
      dtype: plan.input.dtype)
    let result = try advance(tensor, to: next, schedule)[0]
    try result.withElements(Scalar.self) { elements in
      if let source = elements.baseAddress { target.baseAddress?.update(from: source, count: elements.count) }
    }
    return made
  }

  /// Makes ready for pushes of up to so many positions: compiles what they compute, and makes the memory in which they compute.
  ///
  /// From then on ``push(_:into:)`` allocates no memory, if all operations of the network can be computed so
  /// (``StreamPlan/allocatingOperations(chunk:)``); nor does it take a lock or call the system, with one thread. Pushes of
  /// `maximumChunk` positions are fastest; those of fewer are computed as pieces whose lengths are powers of two, or, while delays are
  /// filled or where more than 64 states come in turns, as without, which allocates. A copy of the stream makes its own memory at its
  /// first such push. Longer pushes go on as without, and are compiled when their pattern comes for the second time.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a number below 1 or a stream that has ended.
  public mutating func prepare(maximumChunk: Int) throws {
    try StreamPlan.require(maximumChunk, "maximumChunk")
    _ = try next(by: maximumChunk)
    try prepare(maximumChunk, shorter: true)
    if prepared == nil { try plan.compile(chunk: maximumChunk, from: counters) }
  }
}

extension StreamPlan {
  /// What pushes of up to `chunk` positions compute in place; nil where they cannot.
  func pushes(upTo chunk: Int, shorter: Bool, from counters: StreamCounters) throws -> PreparedPushes? {
    try PreparedPushes(
      engine, chunk: chunk, shorter: shorter, pattern: patternSize, steadyLength: steadyLength, from: counters)
  }

  /// Compiles the pushes of `chunk` positions that come in turns once delays are filled; where these are too many, the others are
  /// compiled while streams run.
  fileprivate func compile(chunk: Int, from counters: StreamCounters) throws {
    var counters = counters
    for _ in 0..<4096 where counters.known[0] < steadyLength {
      _ = try engine.counting.advance(&counters, by: chunk, ends: false)
    }
    guard counters.known[0] >= steadyLength else { return }
    for _ in 0..<min(patternSize / gcd(patternSize, chunk), StreamEngine.mostSchedules / 2) {
      try engine.compile(engine.counting.advance(&counters, by: chunk, ends: false))
    }
  }

  /// The operations, with their layers, that allocate memory in each ``TensorStream/push(_:into:)`` of `chunk` positions after
  /// ``TensorStream/prepare(maximumChunk:)``.
  ///
  /// - Returns: an operation for each time that it allocates in a cycle of pushes; nil where no push computes in place, as their
  ///   patterns do not come again soon enough.
  /// - Throws: ``ToeplitzError`` of kind `argument` for a chunk below 1.
  public func allocatingOperations(chunk: Int) throws -> [String]? {
    try Self.require(chunk, "chunk")
    return try pushes(upTo: chunk, shorter: false, from: engine.counting.beginning)?.allocating
  }
}

/// The greatest common divisor.
func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? abs(a) : gcd(b, a % b) }
