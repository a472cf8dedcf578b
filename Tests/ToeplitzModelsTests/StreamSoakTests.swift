import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

/// A small causal network on hours of sound: memory stays flat, and the last minute is as right as any.
///
/// `TOEPLITZ_STREAM_SOAK=24` streams so many hours at 16 kHz instead of two minutes.
@Suite struct StreamSoakTests {
  private static let hours = ProcessInfo.processInfo.environment["TOEPLITZ_STREAM_SOAK"].flatMap { Double($0) }

  private final class Stack: Module, UnaryLayer {
    let first, last: CausalConv
    let units: ModuleList<EnCodecHalf.Unit>

    init(channels: Int, depth: Int) throws {
      first = try CausalConv(1, channels, 7)
      units = ModuleList(try (0..<depth).map { _ in try EnCodecHalf.Unit(channels) })
      last = try CausalConv(channels, 1, 7)
      super.init()
    }

    func forward(_ x: Tensor) throws -> Tensor { try last(units.reduce(first(x)) { try $1($0) }.elu()).tanh() }
  }

  @Test func soundOfHours() throws {
    let (rate, chunk) = (16_000, 4000)
    let perMinute = 60 * rate / chunk
    let pushes = max(2 * perMinute, Int((Self.hours ?? 0) * 60 * Double(perMinute)))
    let model = try Stack(channels: 8, depth: 4).eval()
    let plan = try model.streamPlan(shape: [1, 1, nil])
    #expect(try plan.allocatingOperations(chunk: chunk) == [])
    #expect(plan.receptiveField <= chunk)
    var stream = try plan.makeStream()
    try stream.prepare(maximumChunk: chunk)
    var random = RandomSource(seed: 3)
    let pieces = try (0..<64).map { _ in try Tensor.randomUniform([1, 1, chunk], from: -1, to: 1, using: &random) }
    // One piece more than the minute, for what its beginning depends on.
    var recent: [(piece: Int, sound: [Float])] = []
    var resident: [Int] = []
    let start = ContinuousClock.now
    for index in 0..<pushes {
      let piece = Int(random.nextUnit() * 64)
      var sound = [Float](repeating: 0, count: chunk)
      let made = try pieces[piece].withElements(Float.self) { source in
        try sound.withUnsafeMutableBufferPointer { try stream.push(source, into: $0) }
      }
      #expect(made == chunk)
      if index >= pushes - perMinute - 1 { recent.append((piece, sound)) }
      if index % (pushes / 20) == 0 { resident.append(residentBytes() ?? 0) }
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    #expect(stream.position == pushes * chunk)
    let whole = try model(Tensor.concatenate(recent.map { pieces[$0.piece] }, axis: 2)).scalars(of: Float.self)
    let streamed = recent.dropFirst().flatMap(\.sound)
    #expect(whole.dropFirst(chunk).map(\.bitPattern) == streamed.map(\.bitPattern))
    guard Self.hours != nil else { return }
    let (early, late) = (resident[2], resident.suffix(2).max() ?? 0)
    #expect(late <= early + early / 50, "resident bytes \(resident)")
    print(
      "\(Double(pushes) / Double(60 * perMinute)) h of sound in \(Int(seconds)) s; resident \(early >> 10) KiB after a tenth, "
        + "\(late >> 10) KiB in the last tenth; last minute equal bit for bit")
  }
}
