import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Models of single steps, which others have written for streaming.
@Suite struct StepStreamTests {
  private func executable(
    _ inputs: [PortDescription], _ outputs: [String], _ body: @escaping ([Tensor]) throws -> [Tensor]
  ) -> Executable {
    let source = FunctionSource(inputs: inputs, outputs: outputs) { operands, _ in try body(operands) }
    nonisolated(unsafe) let sent = source
    return Executable(sent)
  }

  /// Sums of 4 samples and the 2 before them, smoothed over steps: y = s = s / 2 + gain · Σ x.
  private func smoother(size: AxisSize = "length", state: (String, String) = ("state", "stateN")) -> Executable {
    executable(
      [
        PortDescription(name: "x", dtype: .float32, dimensions: ["batch", size]),
        PortDescription(name: state.0, dtype: .float32, dimensions: ["batch", 1]),
        PortDescription(name: "gain", dtype: .float32, dimensions: []),
      ], ["y", state.1]
    ) { operands in
      let next = try operands[1] * 0.5 + operands[0].sum([1], keepsAxes: true) * operands[2]
      return [next, next]
    }
  }

  private func reference(_ x: [Float], gain: Float = 2) -> [Float] {
    let padded = [0, 0] + x + [Float](repeating: 0, count: (4 - x.count % 4) % 4)
    var (state, results): (Float, [Float]) = (0, [])
    for first in stride(from: 0, to: padded.count - 2, by: 4) {
      state = state * 0.5 + padded[first..<(first + 6)].reduce(0, +) * gain
      results.append(state)
    }
    return results
  }

  @Test func stepsRunForPiecesOfAnyLength() throws {
    var random = RandomSource(seed: 4)
    // Small whole numbers, whose sums are exact in any order.
    let x = (0..<53).map { _ in Float(Int.random(in: -8...8, using: &random)) }
    for size in ["length", 6] as [AxisSize] {
      var options = StepStream.Options()
      options.values = ["gain": try Tensor([Float(2)], shape: [], device: .cpu)]
      var stream = try smoother(size: size).stepStream(block: 4, context: 2, options: options)
      #expect(stream.states == [StatePair(input: "state", output: "stateN")] && stream.outputs == ["y"])
      for _ in 0..<5 {
        var (position, results): (Int, [Float]) = (0, [])
        while position < x.count {
          let count = min(x.count - position, Int.random(in: 0...11, using: &random))
          let piece = try Tensor(Array(x[position..<(position + count)]), shape: [1, count], device: .cpu)
          results += try stream.push(piece).scalars(Float.self)
          position += count
          #expect(results.count == position / 4 && stream.position == position)
        }
        // A copy goes on by itself; what does not fit changes nothing.
        var copy = stream
        #expect(throws: ToeplitzError.self) { try copy.push(Tensor.zeros([2, 8])) }
        let ends = (try stream.finish(), try copy.finish())
        #expect(try ends.0.sameBits(as: ends.1) && stream.position == 53)
        #expect(try results + ends.0.scalars(Float.self) == reference(x))
        #expect(throws: ToeplitzError.self) { try stream.push(Tensor.zeros([1, 4])) }
        try stream.reset()
        #expect(stream.position == 0)
      }
    }
  }

  @Test func namesTellStates() throws {
    for (input, output) in [
      ("state", "stateN"), ("h0", "hn"), ("h", "hn"), ("h_in", "h_out"),
      ("cache_last_channel", "cache_last_channel_next"),
      ("cached_key_0", "new_cached_key_0"), ("past_key_values.0.key", "present_key_values.0.key"),
      ("stateIn", "stateOut"),
      ("prev.state", "state"),
    ] {
      let pairs = try smoother(state: (input, output)).statePairs()
      #expect(pairs == [StatePair(input: input, output: output)], "\(input) \(output): \(pairs)")
    }
    for (input, output) in [("state", "status"), ("h1", "hn"), ("input", "output")] {
      #expect(try smoother(state: (input, output)).statePairs().isEmpty, "\(input) \(output)")
      let named = StatePair(input: input, output: output)
      #expect(try smoother(state: (input, output)).statePairs(named: [named]) == [named])
    }
  }

  @Test func whatDoesNotFitIsNamed() throws {
    func refusal(_ executable: Executable, _ change: (inout StepStream.Options) -> Void) -> String {
      var options = StepStream.Options()
      change(&options)
      do {
        _ = try executable.stepStream(options: options)
        return "none"
      } catch { return "\(error)" }
    }
    let gain = try Tensor([Float(2)], shape: [], device: .cpu)
    #expect(refusal(smoother()) { $0.block = 4 }.contains("'x', 'gain'"))
    #expect(refusal(smoother()) { $0.values = ["gain": gain] }.contains("a block"))
    #expect(
      refusal(smoother(size: 6)) {
        $0.values = ["gain": gain]
        $0.block = 5
      }.contains("a block of 6"))
    #expect(refusal(smoother(state: ("a", "b"))) { $0.values = ["gain": gain] }.contains("pairs of the names"))
    #expect(refusal(smoother()) { $0.states = [StatePair(input: "q", output: "y")] }.contains("'q'"))
    #expect(refusal(smoother()) { $0.states = [StatePair(input: "state", output: "q")] }.contains("'q'"))
    // A state of another shape is found when it comes.
    let growing = executable(
      [
        PortDescription(name: "x", dtype: .float32, dimensions: [1, 2]),
        PortDescription(name: "h", dtype: .float32, dimensions: [1, 1]),
      ], ["y", "hn"]
    ) { operands in try [operands[0], Tensor.concatenate([operands[1], operands[1]], axis: 1)] }
    var stream = try growing.stepStream()
    #expect(throws: ToeplitzError.self) { try stream.push(Tensor.ones([1, 2])) }
    #expect(stream.position == 0)
  }
}
