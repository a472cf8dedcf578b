import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Streams give, piece by piece, the bits of the whole.
@Suite struct StreamTests {
  private static let count = NetworkDraw.count(500)

  @Test func streamsGiveTheBitsOfTheWhole() throws {
    var (tried, compared) = (0, 0)
    var seed: UInt64 = 0
    while compared < Self.count, tried < 20 * Self.count {
      tried += 1
      seed += 1
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      let dtype = draw.pick(0...3) == 0 ? DType.float64 : .float32
      guard let network = try? draw.network(dtype: dtype) else { continue }
      let inputs = network.inputChannels
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
      do {
        pieces.append(try stream.finish())
      } catch {
        Issue.record("no end: \(error), \(label)")
        return
      }
      let joined = try Tensor.concatenate(pieces, axis: 2)
      let same = try joined.spec == whole.spec && joined.copied().sameBits(as: whole.copied())
      #expect(same, "\(label)")
      if !same { return }
      compared += 1
    }
    #expect(compared == Self.count)
  }

  /// What the plan says of latency, look-ahead and receptive field is what probing the whole network finds.
  @Test func plansTellWhatProbingFinds() throws {
    var compared = 0
    for seed in UInt64(1)...2000 where compared < 60 {
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      guard let network = try? draw.network(dtype: .float32),
        !network.description.contains("cumsum"), !network.description.contains("attention"),
        !network.description.contains("cubic"),
        !network.description.contains("linear")
      else { continue }
      let inputs = network.inputChannels
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
      let relative = read.enumerated().map { phase, range in
        let own = middle + phase * ratio.denominator / ratio.numerator
        return range.map { $0.lowerBound - own...$0.upperBound - own }
      }
      let label = "seed \(seed): \(network)\n\(plan)"
      #expect(relative == plan.receptiveFields, "\(label)")
      #expect(max(0, relative.compactMap { $0?.upperBound }.max() ?? 0) == plan.lookahead, "\(label): \(read)")
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

  /// Every second position of an odd or an even number of them is one rule.
  @Test func strideSlicesFollowOneRule() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    var network = RandomNetwork(channels: 2, dtype: .float32)
    try draw.convolution(&network, kernel: 4, stride: 3)
    network.steps.append(("half", { try $0.slice(axis: 2, 1..<$0.shape[2], step: 2) }))
    let plan = try network.executable().streamPlan(shape: [1, 2, nil])
    #expect(plan.blockSize == 6 && plan.outputRatio == StreamPlan.Fraction(1, 6), "\(plan)")
    for length in 12...24 {
      let x = try draw.tensor([1, 2, length], .float32)
      var stream = try plan.makeStream()
      let pieces = try [
        stream.push(x.slice(axis: 2, 0..<7)), stream.push(x.slice(axis: 2, 7..<length)), stream.finish(),
      ]
      let joined = try Tensor.concatenate(pieces, axis: 2)
      #expect(try joined.sameBits(as: network.executable().run([x])[0].copied()), "\(length)")
    }
  }

  /// A crop of what is shorter than it tells nothing of longer inputs, and a kernel at a low rate fills last.
  @Test func shortTracesTellNoRules() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 8))
    var network = RandomNetwork(channels: 1, dtype: .float32)
    try draw.convolution(&network, kernel: 1, stride: 81)
    network.steps.append(
      ("crop", { try $0.slice(axis: 2, min(4, $0.shape[2])..<max(min(4, $0.shape[2]), $0.shape[2] - 2)) }))
    let cropped = try network.executable().streamPlan(shape: [1, 1, nil])
    #expect(cropped.blockSize == 81 && cropped.lookahead >= 162)
    try draw.convolution(&network, kernel: 5, keepsLength: true)
    let plan = try network.executable().streamPlan(shape: [1, 1, nil])
    let last = try #require(plan.steps.last)
    #expect(last.held >= 4, "\(plan)")
    let x = try draw.tensor([1, 1, 81 * 30], .float32)
    var stream = try plan.makeStream()
    let pieces = try [
      stream.push(x.slice(axis: 2, 0..<900)), stream.push(x.slice(axis: 2, 900..<2430)), stream.finish(),
    ]
    let whole = try network.executable().run([x])[0]
    #expect(try Tensor.concatenate(pieces, axis: 2).copied().sameBits(as: whole.copied()))
  }

  @Test func streamsAreValues() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    var network = RandomNetwork(channels: 2, dtype: .float32)
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
      let network = RandomNetwork(steps: [("f", body)], channels: 2, dtype: .float32)
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
