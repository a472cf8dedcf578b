import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzONNX
import ToeplitzTestSupport

/// The networks that people stream: their pieces joined are the whole, to the bit, and no work is done twice.
///
/// `TOEPLITZ_STREAM_TABLE=1` prints the table of docs/streaming.md.
@Suite struct StreamedFamilyTests {
  private func check(
    _ name: String, _ model: some UnaryLayer, channels: Int, length: Int, stepBlocks: Int = 2,
    allocating: Set<String> = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let plan = try model.streamPlan(shape: [1, channels, nil])
    let x = try Generator(seed: 9).uniform([1, channels, length], from: -1, to: 1)
    let whole = try model.eval()(x)
    for chunk in [plan.blockSize, 3 * plan.blockSize + 1, length] {
      var stream = try plan.makeStream()
      var pieces: [Tensor] = []
      for first in stride(from: 0, to: length, by: chunk) {
        pieces.append(try stream.push(x.slice(axis: 2, first..<min(first + chunk, length)).copied()))
      }
      pieces.append(try stream.finish())
      let joined = try Tensor.concatenate(pieces, axis: 2)
      #expect(joined.shape == whole.shape, "\(name), chunk \(chunk)", sourceLocation: sourceLocation)
      #expect(
        try joined.copied().sameBits(as: whole.copied()), "\(name), chunk \(chunk)", sourceLocation: sourceLocation)
    }
    try checkTogether(plan, x, name, sourceLocation)
    try checkInPlace(plan, x, name, allocating, sourceLocation)
    try checkSteps(plan, x, whole.copied(), name, blocks: stepBlocks, sourceLocation)
    let share = try plan.workShare(chunk: plan.blockSize)
    #expect(share <= 1.15, "\(name)", sourceLocation: sourceLocation)
    guard ProcessInfo.processInfo.environment["TOEPLITZ_STREAM_TABLE"] != nil else { return }
    print(
      String(
        format: "| %@ | %d | %@ | %d | %d | %d | %d | %.0f | %.3f |", name, plan.blockSize,
        plan.outputRatio.description,
        plan.latency, plan.lookahead, plan.receptiveField, plan.stateBytes, plan.workPerStep, share))
  }

  /// Pushes in place are those of any stream, and only the named operations allocate memory.
  private func checkInPlace(
    _ plan: StreamPlan, _ x: Tensor, _ name: String, _ allocating: Set<String>, _ location: SourceLocation
  ) throws {
    for chunk in [plan.blockSize, 2 * plan.blockSize] {
      let operations = try plan.allocatingOperations(chunk: chunk)
      #expect(operations.map { Set($0) } == allocating, "\(name), chunk \(chunk)", sourceLocation: location)
      var (plain, prepared) = (try plan.makeStream(), try plan.makeStream())
      try prepared.prepare(maximumChunk: chunk)
      var sound = [Float](repeating: 0, count: 0)
      for first in stride(from: 0, to: 2 * x.shape[2] - chunk, by: chunk) {
        let start = first % (x.shape[2] - chunk)
        let piece = try x.slice(axis: 2, start..<(start + chunk)).copied()
        let expected = try plain.push(piece)
        sound = [Float](repeating: 0, count: expected.count)
        try piece.withElements(Float.self) { source in
          _ = try sound.withUnsafeMutableBufferPointer { try prepared.push(source, into: $0) }
        }
        #expect(
          try sound.map(\.bitPattern) == expected.scalars(of: Float.self).map(\.bitPattern),
          "\(name), chunk \(chunk), from \(first)", sourceLocation: location)
      }
    }
  }

  /// Three sessions in one call are three streams.
  private func checkTogether(_ plan: StreamPlan, _ x: Tensor, _ name: String, _ location: SourceLocation) throws {
    var batch = plan.makeBatch()
    #expect(batch.obstacle == nil, "\(name)", sourceLocation: location)
    let ids = try (0..<3).map { _ in try batch.join() }
    var streams = try ids.map { _ in try plan.makeStream() }
    let chunk = 2 * plan.blockSize
    for first in stride(from: 0, to: min(x.shape[2] - chunk, 5 * chunk), by: chunk) {
      let piece = try x.slice(axis: 2, first..<(first + chunk)).copied()
      let pieces = try [piece, piece * 0.5, piece.negated()]
      let results = try batch.push(Dictionary(uniqueKeysWithValues: zip(ids, pieces)))
      for index in ids.indices {
        let alone = try streams[index].push(pieces[index])
        #expect(try results[ids[index]]?.sameBits(as: alone.copied()) == true, "\(name)", sourceLocation: location)
      }
    }
  }

  /// The model of single steps, read again, gives the same stream.
  private func checkSteps(
    _ plan: StreamPlan, _ x: Tensor, _ whole: Tensor, _ name: String, blocks: Int, _ location: SourceLocation
  ) throws {
    var stream = try Executable(onnx: plan.onnxModel(chunk: blocks * plan.blockSize)).stepStream()
    let joined = try Tensor.concatenate([stream.push(x), stream.finish()], axis: 2)
    #expect(joined.shape == whole.shape, "\(name)", sourceLocation: location)
    // ONNX adds the two biases of a recurrent layer to each other first, and steps cut the sums of attention elsewhere.
    let isRounded = plan.steps.contains { ["LSTM", "attention"].contains($0.operation) }
    let distance = try joined.distance(to: whole)
    #expect(
      try isRounded ? distance.absolute <= 1e-6 * distance.scale : joined.copied().sameBits(as: whole),
      "\(name): \(distance)", sourceLocation: location)
  }

  private func expectRefusal(_ model: some UnaryLayer, channels: Int, operation: String, layer: String) {
    do {
      _ = try model.streamPlan(shape: [1, channels, nil])
      Issue.record("\(operation) streams")
    } catch let error as ToeplitzError {
      #expect(error.kind == .unsupported && error.got.contains(operation) && error.path.contains(layer), "\(error)")
    } catch { Issue.record("\(error)") }
  }

  @Test func vocoders() throws {
    try check("HiFi-GAN V1", HiFiGANGenerator(.v1, generator: Generator(seed: 1)), channels: 80, length: 24)
    try check("HiFi-GAN V3", HiFiGANGenerator(.v3, generator: Generator(seed: 1)), channels: 80, length: 40)
    try check("DAC's decoder", DACDecoder(latent: 64, channels: 96, rates: [8, 8, 4, 2]), channels: 64, length: 12)
    try check("Vocos", Vocos(mels: 20, channels: 32, size: 128, hop: 32), channels: 20, length: 40)
  }

  /// With `Numerics.fast` pieces and the whole may take different algorithms: they differ by rounding, at most by so much of the
  /// largest number of the whole.
  static let fastBound = 1e-5

  @Test func fastNumericsStayWithinTheirBound() throws {
    func check(_ name: String, _ model: some UnaryLayer, channels: Int, length: Int) throws {
      let plan = try model.streamPlan(shape: [1, channels, nil])
      let x = try Generator(seed: 9).uniform([1, channels, length], from: -1, to: 1)
      try Numerics.$current.withValue(.fast) {
        try checkTogether(plan, x, name, #_sourceLocation)
        let whole = try model.eval()(x)
        for chunk in [1, 7, 16] {
          var stream = try plan.makeStream()
          var pieces: [Tensor] = []
          for first in stride(from: 0, to: length, by: chunk) {
            pieces.append(try stream.push(x.slice(axis: 2, first..<min(first + chunk, length)).copied()))
          }
          pieces.append(try stream.finish())
          let distance = try Tensor.concatenate(pieces, axis: 2).distance(to: whole)
          #expect(distance.absolute <= Self.fastBound * distance.scale, "\(name), chunk \(chunk): \(distance)")
          guard ProcessInfo.processInfo.environment["TOEPLITZ_STREAM_TABLE"] != nil else { continue }
          print("fast, \(name), chunk \(chunk): \(distance)")
        }
      }
    }
    try check("HiFi-GAN V1", HiFiGANGenerator(.v1, generator: Generator(seed: 1)), channels: 80, length: 48)
    try check("HiFi-GAN V3", HiFiGANGenerator(.v3, generator: Generator(seed: 1)), channels: 80, length: 48)
    try check("DAC's decoder", DACDecoder(latent: 64, channels: 96, rates: [8, 8, 4, 2]), channels: 64, length: 24)
    try check("Conv-TasNet, causal", ConvTasNet(channels: 64, isCausal: true), channels: 1, length: 4000)
  }

  @Test func codecs() throws {
    // Strides of the published 24 kHz model.
    let rates = [2, 4, 5, 8]
    let encoder = try EnCodecHalf(channels: 4, latent: 16, rates: rates, encodes: true)
    try check("EnCodec's encoder", encoder, channels: 1, length: 320 * 20, stepBlocks: 7)
    try check(
      "EnCodec's decoder", EnCodecHalf(channels: 4, latent: 16, rates: rates, encodes: false), channels: 16, length: 16,
      stepBlocks: 7)
    // The last layer reflects six positions of one a block.
    let plan = try encoder.streamPlan(shape: [1, 1, nil])
    #expect {
      _ = try plan.onnxModel(chunk: 6 * 320)
    } throws: { "\($0)".contains("take a chunk of 2240 or more") }
  }

  @Test func decodersThatRepeat() throws {
    try check("Repeating decoder", RepeatingDecoder(latent: 8, channels: 12, factor: 5), channels: 8, length: 40)
  }

  @Test func separators() throws {
    try check("Conv-TasNet, causal", ConvTasNet(channels: 16, isCausal: true), channels: 1, length: 800)
    try check("Demucs, causal", Demucs(channels: 8, depth: 3, bidirectional: false), channels: 1, length: 640)
  }

  @Test func transformers() throws {
    let model = try WindowedTransformer(inputs: 32, channels: 64, heads: 4, depth: 2, mask: .past(63))
    try check("Transformer, 64 positions", model, channels: 32, length: 200)
  }

  @Test func whatReadsAllOfTimeIsNamed() throws {
    try expectRefusal(ConvTasNet(channels: 8, isCausal: false), channels: 1, operation: "all positions", layer: "norm")
    try expectRefusal(
      Demucs(channels: 8, depth: 2, bidirectional: true), channels: 1, operation: "last position", layer: "lstm")
  }
}
