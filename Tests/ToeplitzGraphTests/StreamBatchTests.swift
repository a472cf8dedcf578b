import Testing
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// Sessions of a batch have the bits of streams by themselves.
@Suite struct StreamBatchTests {
  /// A session, and the stream that it must equal.
  private struct Pair {
    var id: StreamBatch.SessionID
    var alone: TensorStream
  }

  @Test func sessionsHaveTheBitsOfStreams() throws {
    let count = NetworkDraw.count(120)
    var compared = 0
    for seed in UInt64(60_000)...UInt64(60_000 + 20 * count) where compared < count {
      var draw = NetworkDraw(random: RandomSource(seed: seed))
      let dtype = draw.pick(0...3) == 0 ? DType.float64 : .float32
      guard let network = try? draw.network(dtype: dtype) else { continue }
      let inputs = network.inputChannels
      // A session may be of several samples itself.
      let samples = draw.pick(0...3) == 0 ? 2 : 1
      guard let plan = try? network.executable().streamPlan(shape: [samples, inputs, nil]) else { continue }
      let label = "seed \(seed): \(network)"
      try check(plan, &draw, label)
      compared += 1
    }
    #expect(compared == count)
  }

  /// Random joins, pushes, forks and ends.
  private func check(_ plan: StreamPlan, _ draw: inout NetworkDraw, _ label: String) throws {
    var batch = plan.makeBatch()
    #expect(batch.obstacle == nil, "\(label)")
    var pairs: [Pair] = []
    func chunk(_ count: Int, _ draw: inout NetworkDraw) throws -> Tensor {
      try draw.tensor(plan.input.shape.replacing(plan.timeAxis, by: count), plan.input.dtype)
    }
    for _ in 0..<draw.pick(4...14) {
      switch draw.pick(0...9) {
      case 0, 1: pairs.append(Pair(id: try batch.join(), alone: try plan.makeStream()))
      case 2 where !pairs.isEmpty:
        let from = pairs[draw.pick(0...(pairs.count - 1))]
        pairs.append(Pair(id: try batch.join(batch.stream(from.id)), alone: from.alone))
      case 3 where !pairs.isEmpty:
        var pair = pairs.remove(at: draw.pick(0...(pairs.count - 1)))
        let ends = [Result { try batch.finish(pair.id) }, Result { try pair.alone.finish() }]
        guard case .success(let end) = ends[0], case .success(let alone) = ends[1] else {
          // A network may refuse to end there; then it stays.
          #expect((try? ends[0].get()) == nil && (try? ends[1].get()) == nil, "\(label)")
          try batch.leave(pair.id)
          continue
        }
        #expect(try end.spec == alone.spec && end.sameBits(as: alone.copied()), "\(label)")
        #expect(throws: ToeplitzError.self) { try batch.push([pair.id: chunk(1, &draw)]) }
      case 4 where !pairs.isEmpty:
        // Goes on alone.
        var pair = pairs.remove(at: draw.pick(0...(pairs.count - 1)))
        var left = try batch.leave(pair.id)
        let x = try chunk(3, &draw)
        #expect(try left.push(x).sameBits(as: pair.alone.push(x)), "\(label)")
      default:
        let usual = draw.pick(0...9)
        var (chunks, expected) = ([StreamBatch.SessionID: Tensor](), [StreamBatch.SessionID: Tensor]())
        for index in pairs.indices where draw.pick(0...4) > 0 {
          let x = try chunk(draw.pick(0...4) == 0 ? draw.pick(0...9) : usual, &draw)
          chunks[pairs[index].id] = x
          expected[pairs[index].id] = try pairs[index].alone.push(x)
        }
        let results = try batch.push(chunks)
        #expect(results.count == expected.count)
        for (id, y) in expected {
          let got = try #require(results[id])
          #expect(try got.spec == y.spec && got.copied().sameBits(as: y.copied()), "\(label), \(id)")
        }
      }
      #expect(batch.sessions == pairs.map(\.id).sorted())
    }
  }

  private func plan(_ seed: UInt64) throws -> StreamPlan {
    var draw = NetworkDraw(random: RandomSource(seed: seed))
    var network = RandomNetwork(channels: 2, dtype: .float32)
    try draw.convolution(&network, kernel: 5, keepsLength: true)
    return try network.executable().streamPlan(shape: [1, 2, nil])
  }

  /// What fails for one session changes none.
  @Test func failuresChangeNothing() throws {
    var batch = try plan(1).makeBatch()
    let (a, b) = (try batch.join(), try batch.join())
    let x = try Tensor.ones([1, 2, 9])
    _ = try batch.push([a: x, b: x])
    let copy = batch
    #expect(throws: ToeplitzError.self) { try batch.push([a: x, b: Tensor.ones([1, 3, 9])]) }
    #expect(throws: ToeplitzError.self) { try batch.push([a: x, b: Tensor.ones([1, 2, 9], dtype: .float64)]) }
    #expect(try batch.stream(a).position == 9 && batch.stream(b).position == 9)
    _ = try batch.finish(a)
    #expect(batch.sessions == [b] && copy.sessions == [a, b])
    #expect(throws: ToeplitzError.self) { try batch.push([a: x, b: x]) }
    #expect(throws: ToeplitzError.self) { try batch.stream(a) }
    #expect(throws: ToeplitzError.self) { try batch.leave(a) }
    #expect(throws: ToeplitzError.self) { try batch.finish(a) }
    #expect(try batch.stream(b).position == 9)
    // Streams of the same model join, of others not.
    var ended = try plan(1).makeStream()
    _ = try ended.push(x)
    let joined = try batch.join(ended)
    #expect(try batch.stream(joined).position == 9)
    _ = try ended.finish()
    #expect(throws: ToeplitzError.self) { try batch.join(ended) }
    #expect(throws: ToeplitzError.self) { try batch.join(plan(2).makeStream()) }
    #expect(batch.sessions.count == 2)
  }

  /// A network that mixes samples is computed for each session by itself, and says why.
  @Test func whatJoinsSamplesIsComputedAlone() throws {
    let network = RandomNetwork(
      steps: [("mean", { try $0 - $0.mean([0, 1], keepsAxes: true) * 0.5 })], channels: 2, dtype: .float32)
    let plan = try network.executable().streamPlan(shape: [2, 2, nil])
    var batch = plan.makeBatch()
    #expect("\(try #require(batch.obstacle))".contains("joins all positions"))
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    let (a, b) = (try batch.join(), try batch.join())
    let (x, y) = (try draw.tensor([2, 2, 5], .float32), try draw.tensor([2, 2, 5], .float32))
    let results = try batch.push([a: x, b: y])
    #expect(try #require(results[a]).sameBits(as: network(x)) && #require(results[b]).sameBits(as: network(y)))
  }

  /// More sessions than one call takes.
  @Test func manySessions() throws {
    let plan = try plan(1)
    var batch = plan.makeBatch()
    var draw = NetworkDraw(random: RandomSource(seed: 3))
    let ids = try (0..<150).map { _ in try batch.join() }
    var streams = try ids.map { _ in try plan.makeStream() }
    for _ in 0..<3 {
      let chunks = try ids.map { _ in try draw.tensor([1, 2, 4], .float32) }
      let results = try batch.push(Dictionary(uniqueKeysWithValues: zip(ids, chunks)))
      for index in ids.indices {
        #expect(try #require(results[ids[index]]).sameBits(as: streams[index].push(chunks[index])))
      }
    }
  }
}
