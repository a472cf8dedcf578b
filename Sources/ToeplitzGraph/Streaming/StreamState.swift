import ToeplitzOps
import ToeplitzTensor

/// All that a stream keeps, as tensors with names, for files.
package struct StreamState {
  /// What is held and carried on, and the counters.
  package var tensors: [String: Tensor]
  /// The digest of the model, and the version of the names.
  package var metadata: [String: String]

  /// State with the given names.
  package init(tensors: [String: Tensor], metadata: [String: String]) {
    (self.tensors, self.metadata) = (tensors, metadata)
  }

  fileprivate static let version = "1"
}

extension StreamPlan {
  /// Tells models apart: a digest of the operations, their attributes and weights, and the input.
  ///
  /// It is the same in every process of one version of the library.
  public var digest: String {
    get throws {
      if let known = engine.knownDigest.withLock({ $0 }) { return known }
      var digest = Digest()
      let network = engine.network
      digest.add("\(input) \(timeAxis) \(network.outputs)")
      for node in network.nodes {
        digest.add("\(node.operation.name) \(node.operation) \(node.inputs) \(node.outputs) \(node.axes)")
        for value in node.inputs {
          guard let tensor = network.constants[value] else { continue }
          try digest.add(tensor, value)
        }
        guard case .attention(let attention) = node.kind else { continue }
        for member in attention.members {
          digest.add("\(member.node.operation.name) \(member.node.operation) \(member.node.inputs)")
          for value in member.node.inputs {
            if let tensor = network.constants[value] { try digest.add(tensor, value) }
          }
        }
      }
      let text = digest.text
      engine.knownDigest.withLock { $0 = text }
      return text
    }
  }
}

extension TensorStream {
  /// The state as tensors.
  package func state() throws -> StreamState {
    var tensors: [String: Tensor] = [:]
    func numbers(_ values: [Int]) throws -> Tensor {
      try Tensor(values.map(Int64.init), shape: [values.count], device: .cpu)
    }
    tensors["known"] = try numbers(counters.known)
    tensors["kept"] = try numbers(counters.kept)
    let memory = try memory()
    for (place, tensor) in memory.held.enumerated() { tensors["held.\(place)"] = tensor }
    for (place, tensor) in memory.carried.enumerated() { tensors["carried.\(place)"] = tensor }
    let metadata = [
      "toeplitz.stream": StreamState.version, "model": try plan.digest, "ended": counters.isEnded ? "true" : "false",
    ]
    return StreamState(tensors: tensors, metadata: metadata)
  }

  /// Goes on where the stream was whose state this is.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if it is of another model, of kind `format` if it is damaged; the stream is as it
  ///   was then.
  package mutating func restore(_ state: StreamState) throws {
    guard state.metadata["toeplitz.stream"] == StreamState.version else {
      throw Self.damaged("the state of a stream", "none, or of another version")
    }
    guard let model = state.metadata["model"], try model == plan.digest else {
      throw ToeplitzError(
        .argument, "restore", expected: "a state of this model, \(try plan.digest)",
        got: "one of \(state.metadata["model"] ?? "none")")
    }
    let (engine, network) = (plan.engine, plan.engine.network)
    var next = engine.counting.beginning
    next.known = try Self.numbers("known", state, count: next.known.count)
    next.kept = try Self.numbers("kept", state, count: next.kept.count)
    next.isEnded = state.metadata["ended"] == "true"
    let held = try engine.counting.timed.enumerated().map { place, value -> Tensor? in
      let length = next.known[place] - next.kept[place]
      guard length >= 0 else { throw Self.damaged("counters that fit", "more kept than known") }
      guard length > 0 else { return nil }
      return try Self.tensor("held.\(place)", state, network.spec(value, length: length))
    }
    let carried = try engine.carried.enumerated().map { try Self.tensor("carried.\($0)", state, $1) }
    resume(next, StreamEngine.Memory(held: held, carried: carried))
  }

  private static func tensor(_ name: String, _ state: StreamState, _ spec: TensorSpec) throws -> Tensor {
    guard let tensor = state.tensors[name], tensor.spec == spec else {
      throw damaged("'\(name)' of \(spec)", state.tensors[name].map { "\($0.spec)" } ?? "none")
    }
    return try tensor.copied()
  }

  private static func numbers(_ name: String, _ state: StreamState, count: Int) throws -> [Int] {
    let numbers = try tensor(name, state, TensorSpec([count], .int64)).scalars(Int64.self).map { Int($0) }
    guard numbers.allSatisfy({ (0...1 << 48).contains($0) }) else {
      throw damaged("counters of at least 0", "others in '\(name)'")
    }
    return numbers
  }

  private static func damaged(_ expected: String, _ got: String) -> ToeplitzError {
    ToeplitzError(.format, "restore", expected: expected, got: got)
  }
}

/// 128 bits that change with every byte; against mistakes, not against malice.
private struct Digest {
  private var words: (UInt64, UInt64) = (0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F)

  private mutating func mix(_ word: UInt64) {
    words.0 = (words.0 ^ word) &* 0xFF51_AFD7_ED55_8CCD
    words.0 ^= words.0 >> 32
    words.1 = (words.1 &+ word) &* 0xC4CE_B9FE_1A85_EC53
    words.1 ^= words.1 >> 29
  }

  mutating func add(_ text: String) { Array(text.utf8).withUnsafeBytes { add($0) } }

  mutating func add(_ tensor: Tensor, _ value: Int) throws {
    add("\(value) \(tensor.spec)")
    let whole = try tensor.copied()
    withExtendedLifetime(whole) {
      add(UnsafeRawBufferPointer(start: whole.elements, count: whole.count * whole.dtype.byteSize))
    }
  }

  mutating func add(_ bytes: UnsafeRawBufferPointer) {
    mix(UInt64(bytes.count))
    let whole = bytes.count / 8 * 8
    for offset in stride(from: 0, to: whole, by: 8) {
      mix(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
    }
    for byte in bytes[whole...] { mix(UInt64(byte)) }
  }

  var text: String {
    [words.0, words.1].map { word in
      let digits = String(word, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
