import CToeplitzKernels
import ToeplitzTensor

/// Converts sound from one sample rate to another.
///
/// A linear-phase low-pass filter, a sinc under a Kaiser window, is evaluated where output samples lie between
/// input samples (Smith and Gossett, "A flexible sampling-rate conversion method", 1984). The lower of the two
/// Nyquist frequencies is where the stop band begins, 100 dB down; up to 0.9 of it the signal passes with less
/// than 0.001 dB of change, and in between the filter falls off. Output sample `j` lies at the time of input
/// sample `j * from / to`, so nothing is delayed. The signal counts as zero outside its ends. Equal rates copy
/// the samples bit by bit.
///
/// A part of the output, a stream in blocks of any size and the whole signal at once give the same bits.
///
/// ```swift
/// let resampler = try Resampler(from: 44_100, to: 22_050)
/// let low = try resampler(high)
/// ```
public struct Resampler: Sendable {
  /// Samples per second of the input.
  public let inputRate: Int
  /// Samples per second of the output.
  public let outputRate: Int
  /// The rates without their common factor: `up` output samples take as long as `down` input samples.
  let up: Int
  let down: Int
  /// Filter coefficients, and input samples, per output sample.
  let tapCount: Int
  /// The rows of the table that one input sample is divided into.
  private let phaseCount: Int
  /// The filter for `phaseCount + 1` places between two input samples, `tapCount` numbers each.
  private let table: [Float]
  /// Whether places between two rows occur; the result is interpolated there.
  private let interpolates: Bool

  /// The factor by which the rates may differ.
  public static let maximumRatio = 1024
  /// Zero crossings of the sinc to each side, at the lower rate.
  private static let halfWidth = 64
  /// The middle of the fall-off, relative to the lower Nyquist frequency.
  ///
  /// Kaiser's formula gives the fall-off of 100 dB over `2 * halfWidth` samples a width of 0.1.
  private static let cutoff = 0.95
  /// Kaiser's formula for 100 dB: 0.1102 · (100 − 8.7).
  private static let beta = 10.061
  /// The coefficients that a table may have; ratios that need more are interpolated between rows.
  private static let tableLimit = 1 << 18

  /// Prepares the filter for a pair of rates in hertz.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for a rate below 1 or above 2³¹, or if the rates differ by
  ///   more than ``maximumRatio``.
  public init(from inputRate: Int, to outputRate: Int) throws {
    let legal = 1...1 << 31
    guard legal.contains(inputRate), legal.contains(outputRate),
      inputRate <= outputRate * Self.maximumRatio, outputRate <= inputRate * Self.maximumRatio
    else {
      throw ToeplitzError(
        .argument, Self.operation,
        expected: "rates from 1 Hz that differ by a factor of at most \(Self.maximumRatio)",
        got: "\(inputRate) and \(outputRate)")
    }
    self.inputRate = inputRate
    self.outputRate = outputRate
    let divisor = Self.greatestCommonDivisor(inputRate, outputRate)
    up = outputRate / divisor
    down = inputRate / divisor
    let scale = min(1, Double(outputRate) / Double(inputRate))
    let width = Double(Self.halfWidth) / scale
    // A multiple of 8 for the vectors of the inner loop.
    tapCount = 2 * ((Int(width.rounded(.up)) + 3) / 4 * 4)
    interpolates = up > Self.tableLimit / tapCount
    // Linear interpolation between rows is off by at most (π / rows per zero crossing)² / 8, −130 dB.
    phaseCount = interpolates ? max(1, Self.tableLimit / tapCount) : up
    if up == down {
      table = []
    } else {
      table = Self.makeTable(phaseCount: phaseCount, tapCount: tapCount, scale: scale, width: width)
    }
  }

  /// The size of the filter table; it does not grow with the ratio of the rates.
  package var coefficientCount: Int { table.count }

  /// The number of output samples for `inputCount` input samples: `inputCount * outputRate / inputRate`,
  /// rounded up.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `inputCount` is negative or the number too large.
  public func outputCount(inputCount: Int) throws -> Int {
    let (product, overflow) = inputCount.multipliedReportingOverflow(by: up)
    guard inputCount >= 0, !overflow, product <= Int.max / 4 else {
      throw ToeplitzError(
        .argument, Self.operation, expected: "0 to \(Int.max / 4 / up) samples", got: "\(inputCount)")
    }
    return product / down + (product % down > 0 ? 1 : 0)
  }

  /// The whole signal at the other rate.
  ///
  /// - Throws: ``ToeplitzError`` of kind `memory` if the result would not fit into this machine's memory.
  public func callAsFunction(_ samples: [Float]) throws -> [Float] {
    if up == down { return samples }
    let count = try outputCount(inputCount: samples.count)
    try requireMemory(Self.operation, count, MemoryLayout<Float>.size)
    return try outputs(0..<count, inputCount: samples.count) { Array(samples[$0]) }
  }

  /// Some output samples of a signal that need not be in memory.
  ///
  /// - Parameters:
  ///   - range: The samples, within `0..<outputCount(inputCount:)`.
  ///   - inputCount: The length of the whole input.
  ///   - samples: Gives the samples of a part of the input. It is called for one short part after another,
  ///     which overlap.
  /// - Throws: ``ToeplitzError`` of kind `argument` if there are no such samples or if `samples` gives the
  ///   wrong number of them; whatever `samples` throws.
  public func outputs(
    _ range: Range<Int>, inputCount: Int, samples: (Range<Int>) throws -> [Float]
  ) throws -> [Float] {
    let total = try outputCount(inputCount: inputCount)
    guard range.lowerBound >= 0, range.upperBound <= total else {
      throw ToeplitzError(.argument, Self.operation, expected: "samples in 0..<\(total)", got: "\(range)")
    }
    try requireMemory(Self.operation, range.count, MemoryLayout<Float>.size)
    func part(_ input: Range<Int>) throws -> [Float] {
      let part = try samples(input)
      guard part.count == input.count else {
        throw ToeplitzError(
          .argument, Self.operation, expected: "\(input.count) samples for \(input)", got: "\(part.count)")
      }
      return part
    }
    if up == down { return try part(range) }
    var result: [Float] = []
    result.reserveCapacity(range.count)
    // So many outputs at a time that their inputs are about as many as the filter's overlap, or more.
    let blockSize = max(1, max(1 << 13, 2 * tapCount) * up / down)
    for first in stride(from: range.lowerBound, to: range.upperBound, by: blockSize) {
      let block = first..<min(first + blockSize, range.upperBound)
      let needed = inputs(for: block)
      let present = needed.clamped(to: 0..<inputCount)
      var window = [Float](repeating: 0, count: present.lowerBound - needed.lowerBound)
      window += try part(present)
      window += repeatElement(0, count: needed.upperBound - present.upperBound)
      compute(block, from: window, startingAt: needed.lowerBound, into: &result)
    }
    return result
  }

  /// A converter for a signal that comes in blocks.
  public func makeStream() -> Stream { Stream(self) }

  /// The input samples that outputs depend on; reaches over the ends of the signal.
  func inputs(for outputs: Range<Int>) -> Range<Int> {
    let first = outputs.lowerBound * down / up
    let last = outputs.isEmpty ? first : (outputs.upperBound - 1) * down / up
    return first - tapCount / 2 + 1..<last + tapCount / 2 + 1
  }

  /// Appends the outputs of a range; `window` holds the inputs they depend on, from place `start`.
  func compute(_ range: Range<Int>, from window: [Float], startingAt start: Int, into result: inout [Float]) {
    result += [Float](unsafeUninitializedCapacity: range.count) { outputs, count in
      table.withUnsafeBufferPointer { table in
        var conversion = tz_resampling(
          table: table.baseAddress, taps: tapCount, phases: phaseCount, up: Int64(up), down: Int64(down),
          interpolates: interpolates)
        tz_resample(&conversion, window, start, range.lowerBound, range.count, outputs.baseAddress)
      }
      count = range.count
    }
  }

  // MARK: Design

  private static let operation = "Resampler"

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
  }

  private static func makeTable(phaseCount: Int, tapCount: Int, scale: Double, width: Double) -> [Float] {
    var table: [Float] = []
    table.reserveCapacity((phaseCount + 1) * tapCount)
    var row = [Double](repeating: 0, count: tapCount)
    for phase in 0...phaseCount {
      tz_windowed_sinc(Double(phase) / Double(phaseCount), width, cutoff * scale, beta, tapCount, &row)
      // Every row passes a constant unchanged, so that none is heard as a tone at the rate of the rows.
      let sum = row.reduce(0, +)
      table += row.map { Float($0 / sum) }
    }
    return table
  }
}

extension Resampler {
  /// Converts a signal block by block; belongs to one task at a time.
  public struct Stream: Sendable {
    private let resampler: Resampler
    /// The inputs that outputs to come depend on, and where they start.
    private var window: [Float]
    private var windowStart: Int
    private var inputCount = 0
    private var outputCount = 0
    private var isFinished = false

    init(_ resampler: Resampler) {
      self.resampler = resampler
      windowStart = -resampler.tapCount / 2 + 1
      window = [Float](repeating: 0, count: resampler.tapCount / 2 - 1)
    }

    /// Takes the next input samples and returns the output samples that they complete.
    ///
    /// - Throws: ``ToeplitzError`` of kind `argument` after ``finish()``, `memory` for a block whose result
    ///   would not fit into this machine's memory.
    public mutating func append(_ samples: [Float]) throws -> [Float] {
      try requireUnfinished()
      if resampler.up == resampler.down { return samples }
      let expected = try resampler.outputCount(inputCount: inputCount + samples.count) - outputCount
      try requireMemory(Resampler.operation, max(expected, 0), MemoryLayout<Float>.size)
      var result: [Float] = []
      let blockSize = 1 << 14
      for first in stride(from: 0, to: samples.count, by: blockSize) {
        let block = samples[first..<min(first + blockSize, samples.count)]
        inputCount += block.count
        window += block
        // Outputs whose filter ends before the inputs do.
        let reach = inputCount - resampler.tapCount / 2
        try produce(upTo: max(outputCount, resampler.outputCount(inputCount: max(reach, 0))), into: &result)
      }
      return result
    }

    /// Ends the signal and returns the remaining output samples.
    ///
    /// - Throws: ``ToeplitzError`` of kind `argument` if it is called twice.
    public mutating func finish() throws -> [Float] {
      try requireUnfinished()
      isFinished = true
      if resampler.up == resampler.down { return [] }
      window += repeatElement(0, count: resampler.tapCount / 2)
      var result: [Float] = []
      try produce(upTo: resampler.outputCount(inputCount: inputCount), into: &result)
      return result
    }

    private mutating func produce(upTo end: Int, into result: inout [Float]) throws {
      resampler.compute(outputCount..<end, from: window, startingAt: windowStart, into: &result)
      outputCount = end
      let keepFrom = resampler.inputs(for: end..<end).lowerBound
      // Strong downsampling can skip inputs that have not come yet.
      let dropped = min(max(keepFrom - windowStart, 0), window.count)
      window.removeFirst(dropped)
      windowStart += dropped
    }

    private func requireUnfinished() throws {
      guard !isFinished else {
        throw ToeplitzError(
          .argument, Resampler.operation, expected: "a stream in use", got: "one that finished")
      }
    }
  }
}
