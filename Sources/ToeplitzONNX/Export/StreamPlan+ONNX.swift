import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

extension StreamPlan {
  /// Writes the plan as an ONNX model of single steps to a file, which appears when it is complete.
  ///
  /// The model takes `chunk` positions `x` and its states, and gives as many positions of the output as belong to them and the states
  /// of the next step. Its metadata name the pairs (`stream.state.INPUT` is the output's name). State inputs have their first values,
  /// so the first step is given none. An output that lags behind begins with so many positions to leave out
  /// (`stream.output.NAME` is the axis, the ratio as two numbers, the positions to leave out, and how many more than the ratio tells the
  /// whole has). Where layers pad the end there is an input `length`, to be given with the stream's length in the steps after the last
  /// position.
  ///
  /// ```swift
  /// try decoder.streamPlan(shape: [1, 64, nil]).exportONNX(to: "step.onnx", chunk: 4)
  /// var stream = try Executable(contentsOf: "step.onnx").stepStream()
  /// ```
  ///
  /// - Parameter chunk: input positions of a step, a multiple of ``blockSize``; the block if nil.
  /// - Throws: ``ToeplitzError`` of kind `unsupported` that names an operation which one graph cannot compute where a stream begins and
  ///   ends too (a recurrent layer behind look-ahead, reflected padding of more positions than a chunk has), or which ONNX cannot say, of kind `file` if
  ///   the file cannot be written.
  public func exportONNX(to path: String, chunk: Int? = nil) throws {
    let bytes = try onnxModel(chunk: chunk)
    try AtomicFile.write(to: path) { try $0.write(bytes) }
  }

  /// The bytes of the ONNX model that ``exportONNX(to:chunk:)`` writes.
  public func onnxModel(chunk: Int? = nil, inputName: String = "x", outputName: String = "y") throws -> [UInt8] {
    let chunk = chunk ?? blockSize
    let step = try step(chunk: chunk, input: inputName, output: outputName)
    var defaults = Dictionary(uniqueKeysWithValues: step.states.map { ($0.pair.input, $0.initial) })
    if let length = step.length { defaults[length.name] = length.endless }
    let bytes = try step.graph.onnxModel(
      defaults: defaults, metadata: StreamMetadata.entries(step, self, chunk: chunk))
    try compare(bytes, chunk)
    return bytes
  }

  /// Refuses a model that does not compute what the stream does, from its beginning to its end.
  private func compare(_ bytes: [UInt8], _ chunk: Int) throws {
    var random = RandomSource(seed: 1)
    let length = (steadyLength / chunk + 3) * chunk
    let shape = input.shape.replacing(timeAxis, by: length)
    let x =
      input.dtype.isFloatingPoint
      ? try Tensor.randomUniform(shape, from: -1, to: 1, dtype: input.dtype, using: &random)
      : try Tensor.zeros(shape, dtype: input.dtype)
    var (stream, steps) = (try makeStream(), try Executable(onnx: bytes).stepStream())
    var (expected, got): ([[Tensor]], [[Tensor]]) = ([], [])
    for first in stride(from: 0, to: length, by: chunk) {
      let piece = try x.slice(axis: timeAxis, first..<(first + chunk)).copied()
      expected.append(try stream.pushAll(piece))
      got.append(try steps.pushAll(piece))
    }
    expected.append(try stream.finishAll())
    got.append(try steps.finishAll())
    for (index, axis) in outputAxes.enumerated() {
      let a = try Tensor.concatenate(expected.map { $0[index] }, axis: axis)
      let b = try Tensor.concatenate(got.map { $0[index] }, axis: axis)
      guard a.spec == b.spec else {
        throw ToeplitzError(.unsupported, "exportONNX", expected: "steps that give \(a.spec) in all", got: "\(b.spec)")
      }
      try requireSameValues(b, a)
    }
  }
}

extension UnaryLayer {
  /// Writes the module as an ONNX model of single steps, with its states as inputs and outputs; see
  /// ``StreamPlan/exportONNX(to:chunk:)``.
  ///
  /// ```swift
  /// try decoder.exportONNX(to: "step.onnx", streaming: [1, 64, nil], chunk: 4)
  /// ```
  ///
  /// - Parameters:
  ///   - streaming: the input's sizes, nil for time.
  ///   - chunk: input positions of a step; the plan's block if nil.
  /// - Throws: As ``streamPlan(shape:dtype:)`` and ``StreamPlan/exportONNX(to:chunk:)``.
  public func exportONNX(to path: String, streaming shape: [Int?], chunk: Int? = nil) throws {
    try streamPlan(shape: shape).exportONNX(to: path, chunk: chunk)
  }
}
