import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzTensor

/// A model that gets its input piece by piece.
final class StreamedRun {
  private let plan: StreamPlan
  private let input: Tensor
  private let chunk: Int
  /// Milliseconds of each piece of the fastest run.
  private var times: [Double] = []

  /// - Throws: ``ToeplitzError`` if the model cannot be streamed or its input is no tensor.
  init(_ executable: Executable, _ values: [String: ModelValue], chunk: Int) throws {
    guard let name = executable.inputs.first?.name, let input = values[name]?.tensor else {
      throw ToeplitzError(.argument, "--chunk", expected: "a model of one input that is a tensor", got: "another")
    }
    var sizes: [Int?] = input.shape.dimensions
    // Time is the last axis that the model leaves open.
    guard
      let axis = executable.inputs[0].dimensions.map({ dimensions in
        dimensions.lastIndex { if case .fixed = $0 { false } else { true } }
      }) ?? (input.rank - 1)
    else {
      throw ToeplitzError(
        .argument, "--chunk", expected: "an input of open length", got: executable.inputs[0].description)
    }
    sizes[axis] = nil
    plan = try executable.streamPlan(shape: sizes)
    (self.input, self.chunk) = (input, chunk)
  }

  /// The outputs, joined.
  func run() throws -> [Tensor] {
    var stream = try plan.makeStream()
    let (axis, clock) = (plan.timeAxis, ContinuousClock())
    var pieces: [[Tensor]] = []
    var spent: [Double] = []
    for first in stride(from: 0, to: input.shape[axis], by: chunk) {
      let piece = try input.slice(axis: axis, first..<min(first + chunk, input.shape[axis]))
      let start = clock.now
      pieces.append(try stream.pushAll(piece))
      spent.append((clock.now - start) / .milliseconds(1))
    }
    pieces.append(try stream.finishAll())
    if times.isEmpty || spent.reduce(0, +) < times.reduce(0, +) { times = spent }
    return try pieces[0].indices.map { output in
      try Tensor.concatenate(pieces.map { $0[output] }, axis: plan.outputAxes[output])
    }
  }

  /// The plan's numbers and the times of the pieces.
  var summary: String {
    let sorted = times.sorted()
    func at(_ share: Double) -> Double {
      sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
    }
    return String(
      format: "%d pieces of %d: median %.3f ms, 99 %% %.3f ms, worst %.3f ms; latency %d outputs, look-ahead %d inputs",
      times.count, chunk, at(0.5), at(0.99), sorted.last ?? 0, plan.latency, plan.lookahead)
  }
}
