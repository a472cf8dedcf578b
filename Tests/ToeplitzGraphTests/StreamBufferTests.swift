import Foundation
import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Streams into buffers, of a constant delay, and their state as tensors.
@Suite struct StreamBufferTests {
  /// Random networks that stream, with what they are given.
  private func each(
    _ count: Int, seeds: UInt64,
    _ body: (inout NetworkDraw, StreamPlan, Executable, _ x: Tensor, _ label: String) throws -> Void
  ) throws {
    var (found, seed) = (0, seeds)
    while found < count, seed < seeds + 50 * UInt64(count) {
      seed += 1
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      guard let (network, executable, plan) = draw.streamed() else { continue }
      let x = try draw.tensor([1, network.inputChannels, plan.blockSize * (8 + draw.pick(0...8))], .float32)
      guard (try? executable.run([x])) != nil else { continue }
      try body(&draw, plan, executable, x, "seed \(seed): \(network)")
      found += 1
    }
    #expect(found == count)
  }

  @Test func buffersGetTheBitsOfTensors() throws {
    try each(60, seeds: 10_000) { draw, plan, _, x, label in
      var (one, two) = (try plan.makeStream(), try plan.makeStream())
      var position = 0
      while position < x.shape[2] {
        let count = min(x.shape[2] - position, draw.pick(0...9))
        let piece = try x.slice(axis: 2, position..<(position + count)).copied()
        position += count
        let expected = try one.push(piece)
        #expect(try two.outputCount(for: count) == expected.shape[2], "\(label)")
        let room = expected.count
        // Too little room changes nothing; more than enough is not touched.
        var target = [Float](repeating: 7, count: room + 3)
        try piece.withElements(Float.self) { source in
          if room > 0 {
            target.withUnsafeMutableBufferPointer { target in
              let short = UnsafeMutableBufferPointer(rebasing: target[..<(room - 1)])
              #expect(throws: ToeplitzError.self) { try two.push(source, into: short) }
            }
          }
          let made = try target.withUnsafeMutableBufferPointer { try two.push(source, into: $0) }
          #expect(made == expected.shape[2], "\(label)")
        }
        #expect(try target.prefix(room).map(\.bitPattern) == expected.scalars(Float.self).map(\.bitPattern), "\(label)")
        #expect(target.suffix(3) == [7, 7, 7])
      }
      #expect(one.position == two.position && one.outputPosition == two.outputPosition)
      #expect(try one.finish().sameBits(as: two.finish()))
    }
  }

  private func expectRefusal(_ body: () throws -> Int) {
    #expect(throws: ToeplitzError.self) { try body() }
  }

  @Test func buffersThatDoNotFitAreRefused() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    var network = RandomNetwork(channels: 2, dtype: .float32)
    try draw.convolution(&network, kernel: 3, keepsLength: true)
    let plan = try network.executable().streamPlan(shape: [1, 2, nil])
    var stream = try plan.makeStream()
    var (odd, doubles, target) = ([Float](repeating: 0, count: 3), [0.0, 1], [Float](repeating: 0, count: 40))
    let none = try target.withUnsafeMutableBufferPointer { target in
      odd.withUnsafeMutableBufferPointer { odd in
        expectRefusal { try stream.push(UnsafeBufferPointer(odd), into: target) }
      }
      doubles.withUnsafeMutableBufferPointer { doubles in
        expectRefusal { try stream.push(UnsafeBufferPointer(doubles), into: doubles) }
      }
      return try stream.push(UnsafeBufferPointer(start: nil, count: 0), into: target)
    }
    #expect(none == 0)
    #expect(throws: ToeplitzError.self) { try stream.outputCount(for: -1) }
    #expect(throws: ToeplitzError.self) { try stream.prepare(maximumChunk: 0) }
    #expect(throws: ToeplitzError.self) { try plan.workShare(chunk: 0) }
    #expect(stream.position == 0)
  }

  /// After ``TensorStream/prepare(maximumChunk:)`` no push compiles anything.
  @Test func preparedStreamsCompileNothing() throws {
    try each(30, seeds: 20_000) { draw, plan, _, x, label in
      let chunk = draw.pick(1...12)
      // More patterns are compiled as they come.
      guard plan.patternSize / gcd(plan.patternSize, chunk) <= StreamEngine.mostSchedules / 2 else { return }
      var stream = try plan.makeStream()
      try stream.prepare(maximumChunk: chunk)
      #expect(stream.position == 0)
      let piece = try draw.tensor(plan.input.shape.replacing(2, by: chunk), .float32)
      while stream.position < plan.steadyLength { _ = try stream.push(piece) }
      for _ in 0..<(2 * plan.blockSize) {
        let (_, schedule) = try stream.next(by: chunk)
        #expect(plan.engine.isCompiled(schedule), "\(label), chunk \(chunk)")
        _ = try stream.push(piece)
      }
    }
  }

  /// A push into a buffer of so many elements, with its positions.
  private func push(_ piece: Tensor, into stream: inout TensorStream, room: Int) throws -> (made: Int, sound: [Float]) {
    var target = [Float](repeating: 7, count: room)
    let made = try piece.withElements(Float.self) { source in
      try target.withUnsafeMutableBufferPointer { try stream.push(source, into: $0) }
    }
    return (made, target)
  }

  /// Pushes in place have the bits of others: of the prepared length from the first on, of fewer positions, in copies, and after
  /// pushes that failed.
  @Test func preparedStreamsGiveTheBitsOfOthers() throws {
    var (inPlace, all, shorter) = (0, 0, 0)
    try each(60, seeds: 40_000) { draw, plan, _, x, label in
      let chunk = draw.pick(1...12)
      var (plain, stream) = (try plan.makeStream(), try plan.makeStream())
      try stream.prepare(maximumChunk: chunk)
      var fork: TensorStream?
      let rounds = plan.steadyLength / chunk + 3 * plan.blockSize + 20
      guard rounds < 4000 else { return }
      // Some streams get other lengths while delays are filled.
      let isOdd = draw.pick(0...3) == 0
      for round in 0..<rounds {
        let isSteady = plain.position >= plan.steadyLength
        let count = (isSteady || isOdd) && draw.pick(0...3) == 0 ? draw.pick(0...(chunk + 1)) : chunk
        let piece = try draw.tensor(plan.input.shape.replacing(2, by: count), .float32)
        let expected = try plain.push(piece)
        if expected.count > 0, draw.pick(0...5) == 0 {
          #expect(throws: ToeplitzError.self) { try push(piece, into: &stream, room: expected.count - 1) }
        }
        if draw.pick(0...9) == 0 { fork = stream }
        if var other = fork {
          fork = nil
          #expect(
            try push(piece, into: &other, room: expected.count).sound == expected.scalars(), "\(label), round \(round)")
        }
        if draw.pick(0...3) == 0 {
          #expect(try stream.push(piece).sameBits(as: expected), "\(label), chunk \(chunk), round \(round)")
        } else {
          let (made, sound) = try push(piece, into: &stream, room: expected.count)
          #expect(made == expected.shape[2])
          #expect(
            try sound.map(\.bitPattern) == expected.scalars(Float.self).map(\.bitPattern),
            "\(label), chunk \(chunk), \(count) in round \(round)")
        }
        if isSteady || !isOdd {
          all += 1
          if stream.isInPlace { (inPlace, shorter) = (inPlace + 1, shorter + (count < chunk ? 1 : 0)) }
        }
        #expect(stream.position == plain.position && stream.outputPosition == plain.outputPosition)
      }
      let (state, other) = (try stream.state().tensors, try plain.state().tensors)
      #expect(state.keys == other.keys)
      for (name, tensor) in state { #expect(try other[name].map { try tensor.sameBits(as: $0) } == true, "\(name)") }
      var (one, two) = (plain, stream)
      guard let end = try? one.finish() else { return }
      #expect(try two.finish().sameBits(as: end), "\(label)")
    }
    #expect(Double(inPlace) > 0.6 * Double(all), "\(inPlace) of \(all)")
    #expect(shorter > 100, "\(shorter)")
  }

  @Test func constantDelaysGiveAsMuchForEveryBlock() throws {
    try each(80, seeds: 30_000) { draw, plan, executable, x, label in
      let denominator = plan.outputRatio.denominator
      let block = denominator * draw.pick(1...3)
      var stream = try plan.makeConstantDelayStream(block: block)
      let length = x.shape[2] / block * block
      guard length > 0, let whole = try? executable.run([x.slice(axis: 2, 0..<length)])[0] else { return }
      var pieces: [Tensor] = []
      for first in stride(from: 0, to: length, by: block) {
        let piece = try x.slice(axis: 2, first..<(first + block)).copied()
        let made = try stream.process(piece)
        #expect(made.shape[2] == stream.outputBlock, "\(label)")
        pieces.append(made)
      }
      #expect(stream.position == length && stream.outputBlock * denominator == block * plan.outputRatio.numerator)
      guard let end = try? stream.finish() else {
        Issue.record("no end: \(label)")
        return
      }
      // The delay in front, then the whole.
      let all = try Tensor.concatenate(pieces + [end], axis: 2)
      #expect(all.shape[2] == stream.delay + whole.shape[2], "\(label)")
      let front = try all.slice(axis: 2, 0..<stream.delay)
      #expect(try front.scalars(Float.self).allSatisfy { $0 == 0 })
      let rest = try all.slice(axis: 2, stream.delay..<all.shape[2])
      #expect(try rest.copied().sameBits(as: whole.copied()), "\(label), block \(block)")
      try stream.reset()
      let again = try stream.process(x.slice(axis: 2, 0..<block).copied())
      #expect(try again.sameBits(as: pieces[0]))
    }
  }

  @Test func blocksThatGiveNoWholeOutputsAreRefused() throws {
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    var network = RandomNetwork(channels: 1, dtype: .float32)
    try draw.convolution(&network, kernel: 2, stride: 2)
    let plan = try network.executable().streamPlan(shape: [1, 1, nil])
    #expect(plan.outputRatio.description == "1/2")
    for block in [0, -2, 3] { #expect(throws: ToeplitzError.self) { try plan.makeConstantDelayStream(block: block) } }
    var stream = try plan.makeConstantDelayStream(block: 4)
    #expect(throws: ToeplitzError.self) { try stream.process(Tensor.zeros([1, 1, 2])) }
    var (source, target) = ([Float](repeating: 1, count: 4), [Float](repeating: 1, count: 2 * network.channels))
    try target.withUnsafeMutableBufferPointer { target in
      try source.withUnsafeMutableBufferPointer { source in
        try stream.process(UnsafeBufferPointer(source), into: target)
        #expect(throws: ToeplitzError.self) { try stream.process(UnsafeBufferPointer(source), into: source) }
      }
    }
    #expect(stream.position == 4)
  }

  @Test func statesGoOnElsewhere() throws {
    try each(60, seeds: 40_000) { draw, plan, executable, x, label in
      let half = draw.pick(0...x.shape[2])
      var one = try plan.makeStream()
      _ = try one.push(x.slice(axis: 2, 0..<half).copied())
      let state = try one.state()
      // Another plan of the same model, as in another process.
      let other = try executable.streamPlan(shape: [1, x.shape[1], nil])
      var two = try other.makeStream()
      try two.restore(state)
      #expect(two.position == half && two.outputPosition == one.outputPosition)
      let rest = try x.slice(axis: 2, half..<x.shape[2]).copied()
      #expect(try one.push(rest).sameBits(as: two.push(rest)), "\(label)")
      #expect(try one.finish().sameBits(as: two.finish()), "\(label)")
      var three = try plan.makeStream()
      try three.restore(one.state())
      #expect(three.isFinished)
    }
  }

  @Test func statesOfOthersAreRefused() throws {
    func plan(seed: UInt64) throws -> StreamPlan {
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      var network = RandomNetwork(channels: 2, dtype: .float32)
      try draw.convolution(&network, kernel: 5, keepsLength: true)
      return try network.executable().streamPlan(shape: [1, 2, nil])
    }
    let (a, b) = (try plan(seed: 1), try plan(seed: 2))
    let digests = try [a.digest, b.digest, plan(seed: 1).digest]
    #expect(digests[0] != digests[1] && digests[0] == digests[2])
    var stream = try a.makeStream()
    _ = try stream.push(Tensor.ones([1, 2, 9]))
    let state = try stream.state()
    var other = try b.makeStream()
    #expect(throws: ToeplitzError.self) { try other.restore(state) }
    func refuse(_ change: (inout StreamState) throws -> Void) throws {
      var changed = state
      try change(&changed)
      #expect(throws: ToeplitzError.self) { try stream.restore(changed) }
      #expect(stream.position == 9)
    }
    try refuse { $0.metadata["toeplitz.stream"] = "0" }
    try refuse { $0.metadata["model"] = nil }
    try refuse { $0.tensors["known"] = nil }
    try refuse { $0.tensors["held.0"] = nil }
    try refuse { $0.tensors["held.0"] = try Tensor.zeros([1, 2, 1]) }
    try refuse { $0.tensors["kept"] = try $0.tensors["known"]?.cast(to: .int32) }
    try refuse { state in
      let known = try #require(state.tensors["known"])
      state.tensors["known"] = try Tensor.zeros(known.shape, dtype: .int64) - known
    }
    try stream.restore(state)
    #expect(stream.position == 9)
  }

  /// Convolutions compute nothing twice; what interpolates reads its neighbours again.
  @Test func workIsCounted() throws {
    try each(40, seeds: 50_000) { draw, plan, _, _, label in
      #expect(plan.workPerStep >= 0)
      for chunk in [plan.blockSize, 3 * plan.blockSize] {
        let share = try plan.workShare(chunk: chunk)
        // Keys are read from a multiple of 32 positions on, and by some queries at a time.
        let most = label.contains("attention") ? 12 : 1.001
        #expect(share > 0.999 && share < most, "\(label): \(share)")
      }
    }
  }
}
