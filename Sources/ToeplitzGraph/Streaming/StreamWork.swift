import ToeplitzOps
import ToeplitzTensor

/// The multiply-adds of a network along time.
struct StreamWork {
  /// For each node those of one position of its result.
  private let costs: [Double]
  /// Those of one position of the input.
  let perPosition: Double

  init(_ network: StreamNetwork, _ rates: StreamRates) {
    costs = network.nodes.map { node in
      if case .attention(let attention) = node.kind { return attention.workPerPair * Double(attention.window.width) }
      guard let counted = node.operation as? any CountedOperation,
        let all = try? counted.multiplyAdds(node.inputs.map { network.specs[$0] })
      else { return 0 }
      // A transposed convolution multiplies each input; elsewhere it is each result.
      if case .overlapAdd(let window, _) = node.kind {
        let length = network.specs[node.inputs[node.timed]].shape[node.axes[node.timed] ?? 0]
        return Double(all) / Double(max(1, length * window.stride))
      }
      return Double(all) / Double(max(1, network.specs[node.outputs[0]].shape[node.axis]))
    }
    perPosition = zip(network.nodes, costs).reduce(0) { $0 + rates[$1.0.outputs[0]].value * $1.1 }
  }

  /// Those of a push.
  func total(_ schedule: StreamSchedule, _ network: StreamNetwork) -> Double {
    zip(zip(network.nodes, costs), schedule.pieces).reduce(0) { sum, entry in
      guard let piece = entry.1 else { return sum }
      if case .attention(let attention) = entry.0.0.kind {
        return sum + Double(attention.pairCount(piece)) * attention.workPerPair
      }
      return sum + Double(entry.0.0.computed(piece)) * entry.0.1
    }
  }
}

extension StreamNode {
  /// How many positions of the result are computed for a piece, with those that are dropped.
  fileprivate func computed(_ piece: Piece) -> Int {
    switch kind {
    case .blocks(let from, let to, _, _): (piece.end - piece.from) / from * to
    case .window(let window, _, _):
      max(0, floorDivide(piece.end - piece.from + piece.low + piece.high - window.span, window.stride) + 1)
    case .overlapAdd, .state, .enclosed, .attention: piece.count
    }
  }
}

extension StreamPlan {
  /// How much of the work of the whole pushes of `chunk` positions do, once delays are filled; 1 is all of it once, the rest of a
  /// larger number is done again and again.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a chunk below 1.
  public func workShare(chunk: Int) throws -> Double {
    try Self.require(chunk, "chunk")
    let work = StreamWork(engine.network, StreamRates(engine.network))
    guard work.perPosition > 0 else { return 1 }
    var counters = engine.counting.beginning
    _ = try engine.counting.advance(&counters, by: steadyLength, ends: false)
    let rounds = patternSize / gcd(patternSize, chunk)
    let total = try (0..<rounds).reduce(0.0) { sum, _ in
      try sum + work.total(engine.counting.advance(&counters, by: chunk, ends: false), engine.network)
    }
    return total / (work.perPosition * Double(rounds * chunk))
  }

  /// Refuses numbers of positions below 1.
  static func require(_ count: Int, _ name: String) throws {
    guard (1...1 << 40).contains(count) else {
      throw ToeplitzError(.argument, "StreamPlan", expected: "\(name) of at least 1", got: "\(count)")
    }
  }
}
