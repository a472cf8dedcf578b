import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzONNX
import ToeplitzTestSupport

@testable import ToeplitzGraph

/// Attention whose masks let each position read few others streams, to the bit.
@Suite struct StreamedAttentionTests {
  private func transformer(_ mask: WindowedTransformer.Mask, stride: Int = 1) throws -> WindowedTransformer {
    try WindowedTransformer(inputs: 3, channels: 24, heads: 3, depth: 2, stride: stride, mask: mask).eval()
  }

  private static let kinds: [(WindowedTransformer.Mask, reach: ClosedRange<Int>)] = [
    (.past(0), 0...0), (.past(7), -7...0), (.past(40), -40...0), (.around(past: 5, future: 3), -5...3),
    (.around(past: 0, future: 9), 0...9), (.blocks(size: 6, before: 1), -6...0), (.blocks(size: 4, before: 0), 0...0),
    (.biased([2, 13, 5]), -13...0), (.everyOther(9), -8...0),
  ]

  @Test(arguments: kinds.indices)
  func piecesJoinedAreTheWhole(_ index: Int) throws {
    let mask = Self.kinds[index].0
    for stride in [1, 2] {
      let model = try transformer(mask, stride: stride)
      let plan = try model.streamPlan(shape: [1, 3, nil])
      let length = stride * 210
      let x = try Generator(seed: 3).uniform([1, 3, length], from: -1, to: 1)
      let whole = try model(x).copied()
      for chunk in [plan.blockSize, 13, 64, length] {
        var stream = try plan.makeStream()
        var pieces: [Tensor] = []
        for first in Swift.stride(from: 0, to: length, by: chunk) {
          pieces.append(try stream.push(x.slice(axis: 2, first..<min(first + chunk, length)).copied()))
        }
        pieces.append(try stream.finish())
        let joined = try Tensor.concatenate(pieces, axis: 2).copied()
        #expect(joined.shape == whole.shape, "\(mask), stride \(stride), chunk \(chunk)")
        #expect(try joined.sameBits(as: whole), "\(mask), stride \(stride), chunk \(chunk)")
      }
      #expect(plan.steps.count { $0.operation == "attention" } == 2, "\(plan)")
    }
  }

  /// Fields are those of two layers of attention, around which a convolution reads one position before.
  @Test(arguments: kinds.indices)
  func receptiveFieldsAreThoseOfMasks(_ index: Int) throws {
    let (mask, reach) = Self.kinds[index]
    let plan = try transformer(mask).streamPlan(shape: [1, 3, nil])
    switch mask {
    case .blocks(let size, let before):
      #expect(plan.blockSize == size && plan.lookahead == size - 1, "\(plan)")
      // The last convolution reads the block before, two layers as many before that, and the first convolution one position more.
      let first = -(2 * before + 1) * size - 1
      #expect(plan.receptiveFields.first == first...size - 1, "\(plan.receptiveFields)")
    default:
      #expect(plan.receptiveFields == [2 * reach.lowerBound - 2...2 * reach.upperBound], "\(plan.receptiveFields)")
      #expect(plan.latency == 2 * reach.upperBound, "\(plan)")
    }
    // Changing an input beyond it changes nothing, and within it something.
    guard case .around = mask else { return }
    let model = try transformer(mask)
    let x = try Generator(seed: 5).uniform([1, 3, 120], from: -1, to: 1)
    let whole = try model(x)
    for (offset, changes) in [
      (2 * reach.lowerBound - 3, false), (2 * reach.lowerBound - 2, true), (2 * reach.upperBound, true),
      (2 * reach.upperBound + 1, false),
    ] {
      var numbers = try x.scalars(of: Float.self)
      for channel in 0..<3 { numbers[channel * 120 + 60 + offset] += 1 }
      let other = try model(Tensor(numbers, shape: x.shape, device: .cpu))
      let (one, two) = (try whole.slice(axis: 2, 60..<61).copied(), try other.slice(axis: 2, 60..<61).copied())
      #expect(try one.sameBits(as: two) == !changes, "\(mask), \(offset)")
    }
  }

  @Test(arguments: kinds.indices)
  func sessionsAndStatesAreThoseOfStreams(_ index: Int) throws {
    let plan = try transformer(Self.kinds[index].0).streamPlan(shape: [1, 3, nil])
    var batch = plan.makeBatch()
    #expect(batch.obstacle == nil, "\(String(describing: batch.obstacle))")
    let ids = [try batch.join(), try batch.join(), try batch.join()]
    var streams = try ids.map { _ in try plan.makeStream() }
    for round in 0..<12 {
      let x = try Generator(seed: UInt64(round)).uniform([1, 3, 11], from: -1, to: 1)
      let pieces = [x, try x * 0.5, try x.negated()]
      let results = try batch.push(Dictionary(uniqueKeysWithValues: zip(ids, pieces)))
      for (at, id) in ids.enumerated() {
        let alone = try streams[at].push(pieces[at]).copied()
        #expect(try results[id]?.copied().sameBits(as: alone) == true, "round \(round)")
        // Another stream goes on from what is stored.
        var restored = try plan.makeStream()
        try restored.restore(streams[at].snapshot())
        streams[at] = restored
      }
    }
  }

  /// Pushes of a prepared length compute in place, whatever phase they come at.
  @Test(arguments: kinds.indices)
  func preparedPushesAreThoseOfAnyStream(_ index: Int) throws {
    let plan = try transformer(Self.kinds[index].0).streamPlan(shape: [1, 3, nil])
    for chunk in [4, 32] {
      var (plain, prepared) = (try plan.makeStream(), try plan.makeStream())
      try prepared.prepare(maximumChunk: chunk)
      let operations = try plan.allocatingOperations(chunk: chunk)
      #expect(operations == [], "\(String(describing: operations))")
      for round in 0..<(plan.steadyLength / chunk + 40) {
        let x = try Generator(seed: UInt64(round)).uniform([1, 3, chunk], from: -1, to: 1)
        let (one, two) = (try plain.push(x).copied(), try prepared.push(x).copied())
        #expect(one.shape == two.shape, "round \(round), chunk \(chunk)")
        #expect(try one.sameBits(as: two), "round \(round), chunk \(chunk)")
      }
    }
  }

  /// The model of single steps leaves out keys that there are not.
  @Test(arguments: kinds.indices)
  func stepModelsAreTheStream(_ index: Int) throws {
    let (mask, _) = Self.kinds[index]
    let model = try transformer(mask)
    let plan = try model.streamPlan(shape: [1, 3, nil])
    if case .everyOther = mask {
      #expect {
        _ = try plan.onnxModel()
      } throws: { "\($0)".contains("softmax") }
      return
    }
    let x = try Generator(seed: 8).uniform([1, 3, 192], from: -1, to: 1)
    let whole = try model(x)
    for chunk in [plan.blockSize, 96] {
      var stream = try Executable(onnx: plan.onnxModel(chunk: chunk)).stepStream()
      let joined = try Tensor.concatenate([stream.push(x), stream.finish()], axis: 2)
      #expect(joined.shape == whole.shape, "\(mask), chunk \(chunk)")
      let distance = try joined.distance(to: whole)
      #expect(distance.absolute <= 1e-6 * max(1, distance.scale), "\(mask), chunk \(chunk): \(distance)")
    }
  }

  /// Networks as PyTorch's exporters write them, with PyTorch's values, and of ONNX's operator, with ONNX Runtime's.
  @Test(arguments: ["script_plain", "script_fused", "dynamo_plain", "dynamo_fused", "operator"])
  func exportedNetworksStream(_ name: String) throws {
    let file = Fixtures.path("onnx/streamed/attention_\(name)")
    let executable = try Executable(contentsOf: file + ".onnx")
    let plan = try executable.streamPlan(shape: [1, 2, nil])
    let future = name.hasSuffix("fused") ? 3 : 0
    // Of the other convolutions' positions, at half the rate.
    #expect(plan.blockSize == 2 && plan.lookahead == 2 * future + 3, "\(plan)")
    let arrays = try NumPy.readArchive(contentsOf: file + ".npz")
    let (x, expected) = (try #require(arrays["x"]), try #require(arrays["y"]))
    let whole = try executable.run([x])[0].copied()
    let distance = try whole.distance(to: expected)
    #expect(distance.absolute <= 1e-5 * distance.scale, "\(distance)")
    for chunk in [2, 9, 128] {
      var stream = try plan.makeStream()
      var pieces: [Tensor] = []
      for first in stride(from: 0, to: 128, by: chunk) {
        pieces.append(try stream.push(x.slice(axis: 2, first..<min(first + chunk, 128)).copied()))
      }
      pieces.append(try stream.finish())
      #expect(try Tensor.concatenate(pieces, axis: 2).copied().sameBits(as: whole), "chunk \(chunk)")
    }
  }

  /// Work is that of the window, not of all pairs.
  @Test func workIsThatOfTheWindow() throws {
    let plan = try transformer(.past(100)).streamPlan(shape: [1, 3, nil])
    #expect(try plan.workShare(chunk: 1) < 1.15)
    #expect(try plan.workShare(chunk: 64) < 1.6)
  }

  @Test func whatReadsAllPositionsIsNamed() throws {
    let all = try transformer(.past(.max >> 8))
    #expect {
      _ = try all.streamPlan(shape: [1, 3, nil])
    } throws: { "\($0)".contains("no mask leaves out keys that are far away") }
  }
}
