import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Streams give, piece by piece, the bits of the whole.
@Suite struct StreamTests {
  /// A network as functions one after the other, each with what it is.
  private struct Network: CustomStringConvertible {
    var steps: [(name: String, apply: (Tensor) throws -> Tensor)] = []
    var channels = 1
    /// What the length must be a multiple of.
    var multiple = 1
    let dtype: DType
    var description: String { steps.map(\.name).joined(separator: " → ") }

    func callAsFunction(_ x: Tensor) throws -> Tensor { try steps.reduce(x) { try $1.apply($0) } }

    func executable() -> Executable {
      let network = self
      let source = FunctionSource(
        inputs: [PortDescription(name: "x", dtype: dtype)], outputs: ["y"]
      ) { operands, _ in [try network(operands[0])] }
      nonisolated(unsafe) let sent = source
      return Executable(sent)
    }
  }

  private struct Draw {
    var random: RandomSource
    mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    mutating func tensor(_ shape: TensorShape, _ dtype: DType) throws -> Tensor {
      try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
    }

    mutating func convolution(
      _ network: inout Network, kernel: Int? = nil, stride: Int? = nil, keepsLength: Bool = false,
      transposed: Bool = false
    ) throws {
      let (inputs, outputs) = (network.channels, pick(1...4))
      let k = kernel ?? pick(1...7)
      let dilation = pick(1...3)
      let s = keepsLength ? 1 : stride ?? pick(1...3)
      let reach = (k - 1) * dilation
      var (low, high) = (pick(0...reach), 0)
      high = keepsLength ? reach - low : pick(0...reach)
      if !keepsLength, pick(0...6) == 0 { (low, high) = (-pick(0...2), -pick(0...2)) }
      let modes: [PaddingMode] = transposed || low < 0 || high < 0 ? [.zeros] : [.zeros, .zeros, .reflect, .replicate]
      let geometry = try ConvolutionGeometry(
        rank: 1, isTransposed: transposed, inChannels: inputs, outChannels: outputs, kernelSize: PerAxis([k]),
        stride: PerAxis([s]), padding: .asymmetric([(low, high)]),
        outputPadding: PerAxis([transposed ? pick(0...(max(s, dilation) - 1)) : 0]), dilation: PerAxis([dilation]),
        groups: 1, paddingMode: modes[pick(0...(modes.count - 1))])
      let (weight, bias) = (try tensor(geometry.weightShape, network.dtype), try tensor([outputs], network.dtype))
      let name =
        "\(geometry.name)(\(inputs), \(outputs), k \(k), s \(s), d \(dilation), \(low) \(high) \(geometry.paddingMode))"
      network.steps.append((name, { try $0.convolved(geometry, weight: weight, bias: bias) }))
      network.channels = outputs
    }

    mutating func step(_ network: inout Network) throws {
      switch pick(0...12) {
      case 0, 1, 2: try convolution(&network)
      case 3: try convolution(&network, transposed: true)
      case 4:
        let (k, s) = (pick(1...4), pick(1...3))
        let geometry = try PoolGeometry(
          name: "pool", rank: 1, kernelSize: PerAxis([k]), stride: PerAxis([s]), padding: PerAxis([pick(0...(k / 2))]))
        let isMaximum = pick(0...1) == 0
        network.steps.append(
          (
            "\(isMaximum ? "max" : "average") pool \(k) \(s) \(geometry.paddingLow)",
            { try isMaximum ? $0.maxPooled(geometry) : $0.averagePooled(geometry) }
          ))
      case 5:
        let (factor, kinds) = (pick(1...4), [Interpolation.nearest, .nearestExact, .linear, .cubic])
        let kind = kinds[pick(0...3)]
        network.steps.append(
          ("\(kind) × \(factor)", { try $0.resampled(axis: 2, size: $0.shape[2] * factor, kind) }))
      case 6:
        let (low, high) = (pick(0...4), pick(0...4))
        let modes = [PaddingMode.zeros, .reflect, .replicate]
        let mode = modes[pick(0...2)]
        network.steps.append(
          ("pad \(low) \(high) \(mode)", { try $0.padded([(2, low, high)], mode: mode, value: 0.5) }))
      case 7:
        let (low, high) = (pick(0...4), pick(0...4))
        network.steps.append(
          (
            "crop \(low) \(high)",
            { try $0.slice(axis: 2, min(low, $0.shape[2])..<max(min(low, $0.shape[2]), $0.shape[2] - high)) }
          ))
      case 8: network.steps.append(("leaky", { try $0.leakyReLU(negativeSlope: 0.1) }))
      case 9: network.steps.append(("cumsum", { try $0.cumsum(axis: 2).cast(to: $0.dtype).tanh() }))
      case 10:
        // A residual branch of another delay.
        let channels = network.channels
        var branch = Network(channels: channels, dtype: network.dtype)
        for _ in 0..<pick(1...2) { try convolution(&branch, keepsLength: true) }
        let back = try tensor([channels, branch.channels, 1], network.dtype)
        let one = try ConvolutionGeometry(
          rank: 1, inChannels: branch.channels, outChannels: channels, kernelSize: 1)
        let inner = branch
        network.steps.append(
          ("x + (\(branch))", { x in try x + inner(x).convolved(one, weight: back, bias: nil) }))
      case 11:
        let (before, after) = (
          try tensor([1, network.channels, pick(0...3)], network.dtype),
          try tensor([1, network.channels, pick(0...3)], network.dtype)
        )
        network.steps.append(
          ("enclose \(before.shape[2]) \(after.shape[2])", { try Tensor.concatenate([before, $0, after], axis: 2) }))
      default:
        // Channels become time, and a U-Net of one level.
        if pick(0...1) == 0 {
          let (factor, channels) = (pick(2...3), pick(1...3))
          try convolution(&network, keepsLength: true)
          let mixed = try ConvolutionGeometry(
            rank: 1, inChannels: network.channels, outChannels: channels * factor, kernelSize: 1)
          let weight = try tensor(mixed.weightShape, network.dtype)
          network.steps.append(
            (
              "pixel shuffle \(factor)",
              { x in
                let y = try x.convolved(mixed, weight: weight, bias: nil)
                return try y.reshaped([1, channels, factor, y.shape[2]]).permuted([0, 1, 3, 2])
                  .reshaped([1, channels, y.shape[2] * factor])
              }
            ))
          network.channels = channels
        } else {
          let channels = network.channels
          let down = try ConvolutionGeometry(
            rank: 1, inChannels: channels, outChannels: 3, kernelSize: 4, stride: 2, padding: 1)
          let up = try ConvolutionGeometry(
            rank: 1, isTransposed: true, inChannels: 3, outChannels: 2, kernelSize: 4, stride: 2, padding: 1)
          let weights = (try tensor(down.weightShape, network.dtype), try tensor(up.weightShape, network.dtype))
          network.steps.append(
            (
              "U-Net",
              { x in
                let inner = try x.convolved(down, weight: weights.0, bias: nil).relu()
                return try Tensor.concatenate([x, inner.convolved(up, weight: weights.1, bias: nil)], axis: 1)
              }
            ))
          network.channels += 2
        }
      }
    }
  }

  private func network(_ draw: inout Draw, dtype: DType) throws -> Network {
    var network = Network(channels: draw.pick(1...3), dtype: dtype)
    for _ in 0..<draw.pick(1...8) { try draw.step(&network) }
    return network
  }

  /// How many random networks; `TOEPLITZ_STREAM_NETWORKS` sets another number.
  private static let count =
    ProcessInfo.processInfo.environment["TOEPLITZ_STREAM_NETWORKS"].flatMap { Int($0) } ?? 300

  @Test func streamsGiveTheBitsOfTheWhole() throws {
    var (tried, compared) = (0, 0)
    var seed: UInt64 = 0
    while compared < Self.count, tried < 20 * Self.count {
      tried += 1
      seed += 1
      var draw = Draw(random: RandomSource(seed: seed))
      let dtype = draw.pick(0...3) == 0 ? DType.float64 : .float32
      guard let network = try? network(&draw, dtype: dtype) else { continue }
      let inputs = try channels(of: network, seed)
      let executable = network.executable()
      // Networks that refuse most lengths are not asked.
      guard let plan = try? executable.streamPlan(shape: [1, inputs, nil]) else { continue }
      let length = draw.pick(1...90)
      let x = try draw.tensor([1, inputs, length], dtype)
      let whole = try? executable.run([x])[0]
      var stream = try plan.makeStream()
      var pieces: [Tensor] = []
      var position = 0
      while position < length {
        let count = min(length - position, [0, 1, 1, 2, 5, 17, 40][draw.pick(0...6)])
        pieces.append(try stream.push(x.slice(axis: 2, position..<(position + count))))
        position += count
      }
      let label = "seed \(seed), length \(length): \(network)"
      guard let whole else {
        #expect(throws: ToeplitzError.self, "\(label)") { try stream.finish() }
        continue
      }
      guard let end = try? stream.finish() else {
        Issue.record("no end: \(label)")
        return
      }
      pieces.append(end)
      let joined = try Tensor.concatenate(pieces, axis: 2)
      let same = try joined.spec == whole.spec && joined.copied().sameBits(as: whole.copied())
      #expect(same, "\(label)")
      if !same { return }
      compared += 1
    }
    #expect(compared == Self.count)
  }

  /// The channels that the first step takes.
  private func channels(of network: Network, _ seed: UInt64) throws -> Int {
    for channels in 1...3 {
      if (try? network(Tensor.zeros([1, channels, 96], dtype: network.dtype))) != nil { return channels }
    }
    return 1
  }

  /// What the plan says of latency, look-ahead and receptive field is what probing the whole network finds.
  @Test func plansTellWhatProbingFinds() throws {
    var compared = 0
    for seed in UInt64(1)...2000 where compared < 60 {
      var draw = Draw(random: RandomSource(seed: seed))
      guard let network = try? network(&draw, dtype: .float32),
        !network.description.contains("cumsum"), !network.description.contains("cubic"),
        !network.description.contains("linear")
      else { continue }
      let inputs = try channels(of: network, seed)
      let executable = network.executable()
      guard let plan = try? executable.streamPlan(shape: [1, inputs, nil]), plan.receptiveField < 80,
        plan.blockSize < 30
      else { continue }
      let length = 12 * plan.blockSize * (1 + 160 / (6 * plan.blockSize))
      let x = try draw.tensor([1, inputs, length], .float32)
      guard let whole = try? executable.run([x])[0] else { continue }
      // Which outputs in the middle each input reaches.
      let ratio = plan.outputRatio
      let middle = length / 2 / plan.blockSize * plan.blockSize
      let first = middle / ratio.denominator * ratio.numerator
      let phases = plan.blockSize * ratio.numerator / ratio.denominator
      guard phases > 0, first + phases <= whole.shape[2] else { continue }
      var read = [ClosedRange<Int>?](repeating: nil, count: phases)
      for position in 0..<length {
        var probe = try x.scalars(Float.self)
        for channel in 0..<inputs { probe[channel * length + position] = .nan }
        let y = try executable.run([Tensor(probe, shape: x.shape, device: .cpu)])[0]
        let numbers = try y.contiguous().scalars(Float.self)
        for phase in 0..<phases {
          guard (0..<y.shape[1]).contains(where: { numbers[$0 * y.shape[2] + first + phase].isNaN }) else { continue }
          read[phase] = min(read[phase]?.lowerBound ?? position, position)...position
        }
      }
      let ahead = read.enumerated().compactMap { phase, range in
        range.map { $0.upperBound - (middle + phase * ratio.denominator / ratio.numerator) }
      }
      let label = "seed \(seed): \(network)\n\(plan)"
      #expect(max(0, ahead.max() ?? 0) == plan.lookahead, "\(label): \(read)")
      #expect(read.compactMap { $0?.count }.max() ?? 1 == plan.receptiveField, "\(label): \(read)")
      // Latency: what has come out after whole blocks.
      var stream = try plan.makeStream()
      _ = try stream.push(x.slice(axis: 2, 0..<middle))
      let expected = first - plan.latency
      #expect(stream.outputPosition == max(0, expected), "\(label)")
      compared += 1
    }
    #expect(compared == 60)
  }

  @Test func streamsAreValues() throws {
    var draw = Draw(random: RandomSource(seed: 3))
    var network = Network(channels: 2, dtype: .float32)
    try draw.convolution(&network, kernel: 5, keepsLength: true)
    let executable = network.executable()
    let plan = try executable.streamPlan(shape: [1, 2, nil])
    let x = try draw.tensor([1, 2, 40], .float32)
    var one = try plan.makeStream()
    let start = try one.push(x.slice(axis: 2, 0..<20))
    var other = one
    // A chunk that does not fit changes nothing.
    #expect(throws: ToeplitzError.self) { try other.push(Tensor.zeros([1, 3, 4])) }
    #expect(throws: ToeplitzError.self) { try other.push(Tensor.zeros([1, 2, 4], dtype: .float64)) }
    let a = try [start, one.push(x.slice(axis: 2, 20..<40)), one.finish()]
    let b = try [start, other.push(x.slice(axis: 2, 20..<40)), other.finish()]
    let whole = try executable.run([x])[0]
    for pieces in [a, b] { #expect(try Tensor.concatenate(pieces, axis: 2).sameBits(as: whole.copied())) }
    #expect(one.position == 40 && one.isFinished)
    #expect(throws: ToeplitzError.self) { try one.push(x) }
    #expect(throws: ToeplitzError.self) { try one.finish() }
    try one.reset()
    #expect(one.position == 0 && !one.isFinished)
    #expect(try one.push(x).shape[2] > 0)
  }

  @Test func whatNeedsAllOfTimeIsRefusedByName() throws {
    func refusal(_ body: @escaping (Tensor) throws -> Tensor) -> String {
      let network = Network(steps: [("f", body)], channels: 2, dtype: .float32)
      do {
        return try network.executable().streamPlan(shape: [1, 2, nil]).description
      } catch { return "\(error)" }
    }
    #expect(refusal { try $0.softmax(axis: 2) }.contains("divides by a sum over all positions"))
    #expect(refusal { try $0 / $0.mean([2], keepsAxes: true) }.contains("joins all positions"))
    #expect(refusal { try $0.padded([(2, 1, 1)], mode: .circular) }.contains("circular padding"))
    #expect(refusal { try $0.flipped([2]) }.contains("begins with the last position"))
    #expect(refusal { try $0.slice(axis: 2, 0..<8) }.contains("changes with the length"))
    #expect(
      refusal { x in try x + Tensor((0..<x.shape[2]).map { Float($0) }, shape: [1, 1, x.shape[2]], device: .cpu) }
        .contains("changes along it"))
  }
}
