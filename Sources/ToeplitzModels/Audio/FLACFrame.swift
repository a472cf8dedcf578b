/// What stands at the beginning of a FLAC file and holds for all of it (RFC 9639, section 8.2).
struct FLACStreamInfo: Sendable, Hashable {
  var sampleRate: Int
  var channelCount: Int
  var bitsPerSample: Int
  /// Samples of each channel; 0 if unknown.
  var totalSamples: Int
  /// MD5 of all samples; zeros if unknown.
  var checksum: [UInt8]
}

/// Decodes one frame of FLAC after the other (RFC 9639, section 9).
///
/// Numbers are 64 bits wide, which the difference of two channels of 32 bits and all sums of predictors fit; those of a
/// damaged frame wrap around, and its checksum tells.
struct FLACFrameDecoder {
  private let info: FLACStreamInfo
  private let bytes: UnsafeBufferPointer<UInt8>
  /// The samples of the last frame, channel after channel.
  private(set) var samples: [Int64] = []
  /// The samples of each channel in it.
  private(set) var blockSize = 0

  /// How the channels of a frame are stored.
  private enum Channels {
    case independent
    /// The left one, and what it is above the right one.
    case leftSide
    /// What the left one is above the right one, and that.
    case sideRight
    /// The mean of two channels, rounded down, and what the left one is above the right one.
    case midSide
  }

  init(_ info: FLACStreamInfo, _ bytes: UnsafeBufferPointer<UInt8>) {
    self.info = info
    self.bytes = bytes
  }

  /// Decodes the frame that begins at a byte.
  ///
  /// - Returns: Where the next one begins.
  mutating func decode(at offset: Int) throws(FLACFault) -> Int {
    var bits = FLACBits(bytes, from: offset)
    let channels = try readHeader(&bits, from: offset)
    let count = info.channelCount
    if samples.count < count * blockSize { samples = Array(repeating: 0, count: count * blockSize) }
    for channel in 0..<count {
      // A difference needs one bit more.
      let isSide: Bool
      switch channels {
      case .independent: isSide = false
      case .leftSide, .midSide: isSide = channel == 1
      case .sideRight: isSide = channel == 0
      }
      try readSubframe(&bits, channel, bitsPerSample: info.bitsPerSample + (isSide ? 1 : 0))
    }
    try bits.align()
    let end = bits.bytePosition
    let sum = try UInt16(bits.read(16))
    guard FLACChecksum.crc16(bytes[offset..<end]) == sum else { throw .damaged("a frame with the right checksum") }
    restore(channels)
    // What does not fit has passed the checksum all the same.
    let limit = Int64(1) << Int64(info.bitsPerSample - 1)
    guard samples.prefix(count * blockSize).allSatisfy({ $0 >= -limit && $0 < limit }) else {
      throw .damaged("samples of \(info.bitsPerSample) bits")
    }
    return end + 2
  }

  private mutating func readHeader(_ bits: inout FLACBits, from offset: Int) throws(FLACFault) -> Channels {
    guard try bits.read(15) == 0b111_1111_1111_1100 else { throw .damaged("the start of a frame") }
    let isVariable = try bits.read(1) == 1
    let (sizeCode, rateCode) = (try Int(bits.read(4)), try Int(bits.read(4)))
    let (channelCode, depthCode) = (try Int(bits.read(4)), try Int(bits.read(3)))
    guard try bits.read(1) == 0, sizeCode != 0, rateCode != 15, channelCode <= 10, depthCode != 3 else {
      throw .damaged("a frame header without reserved values")
    }
    try skipNumber(&bits, bytes: isVariable ? 7 : 6)
    switch sizeCode {
    case 1: blockSize = 192
    case 2...5: blockSize = 144 << sizeCode
    case 6: blockSize = try Int(bits.read(8)) + 1
    case 7: blockSize = try Int(bits.read(16)) + 1
    default: blockSize = 1 << sizeCode
    }
    let rates = [
      info.sampleRate, 88_200, 176_400, 192_000, 8000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
    ]
    let rate: Int
    switch rateCode {
    case 12: rate = try Int(bits.read(8)) * 1000
    case 13: rate = try Int(bits.read(16))
    case 14: rate = try Int(bits.read(16)) * 10
    default: rate = rates[rateCode]
    }
    let end = bits.bytePosition
    guard try UInt8(bits.read(8)) == FLACChecksum.crc8(bytes[offset..<end]) else {
      throw .damaged("a frame header with the right checksum")
    }
    let depth = [info.bitsPerSample, 8, 12, 0, 16, 20, 24, 32][depthCode]
    let count = channelCode < 8 ? channelCode + 1 : 2
    guard rate == info.sampleRate, depth == info.bitsPerSample, count == info.channelCount else {
      throw .unsupported(
        "\(count) channels of \(depth) bits at \(rate) Hz in a frame of a file of "
          + "\(info.channelCount) of \(info.bitsPerSample) bits at \(info.sampleRate) Hz")
    }
    switch channelCode {
    case 8: return .leftSide
    case 9: return .sideRight
    case 10: return .midSide
    default: return .independent
    }
  }

  /// The number of the frame or its first sample, coded as UTF-8 codes characters but longer.
  private func skipNumber(_ bits: inout FLACBits, bytes most: Int) throws(FLACFault) {
    let first = try UInt8(bits.read(8))
    let ones = (~first).leadingZeroBitCount
    guard ones != 1, ones <= most else { throw .damaged("a frame number") }
    for _ in 0..<max(ones - 1, 0) {
      guard try bits.read(8) >> 6 == 0b10 else { throw .damaged("a frame number") }
    }
  }

  // MARK: Subframes

  private mutating func readSubframe(
    _ bits: inout FLACBits, _ channel: Int, bitsPerSample depth: Int
  ) throws(FLACFault) {
    guard try bits.read(1) == 0 else { throw .damaged("a zero before a subframe") }
    let code = try Int(bits.read(6))
    var wasted = 0
    if try bits.read(1) == 1 {
      wasted = try Int(min(bits.unary(), 64)) + 1
      guard wasted < depth else { throw .damaged("fewer than \(depth) wasted bits") }
    }
    let depth = depth - wasted
    let (start, count) = (channel * blockSize, blockSize)
    switch code {
    case 0:
      let value = try bits.signed(depth)
      for index in start..<start + count { samples[index] = value }
    case 1:
      for index in start..<start + count { samples[index] = try bits.signed(depth) }
    case 8...12: try readPredicted(&bits, start, depth, order: code - 8, fixed: true)
    case 32...63: try readPredicted(&bits, start, depth, order: code - 31, fixed: false)
    default: throw .damaged("a subframe without a reserved type")
    }
    if wasted > 0 {
      for index in start..<start + count { samples[index] <<= Int64(wasted) }
    }
  }

  /// Differences of order 0 to 4, of which predictors are made that need no coefficients.
  private static let fixedCoefficients: [[Int64]] = [[], [1], [2, -1], [3, -3, 1], [4, -6, 4, -1]]

  private mutating func readPredicted(
    _ bits: inout FLACBits, _ start: Int, _ depth: Int, order: Int, fixed: Bool
  ) throws(FLACFault) {
    guard order <= blockSize else { throw .damaged("a block of at least \(order) samples") }
    for index in start..<start + order { samples[index] = try bits.signed(depth) }
    var coefficients = fixed ? Self.fixedCoefficients[order] : []
    var shift: Int64 = 0
    if !fixed {
      let precision = try Int(bits.read(4)) + 1
      shift = try bits.signed(5)
      guard precision < 16, shift >= 0 else { throw .damaged("a predictor without reserved values") }
      for _ in 0..<order { coefficients.append(try bits.signed(precision)) }
    }
    try readResidual(&bits, start, order: order)
    let size = blockSize
    samples.withUnsafeMutableBufferPointer { samples in
      coefficients.withUnsafeBufferPointer { coefficients in
        for index in start + order..<start + size {
          var sum: Int64 = 0
          for tap in 0..<order { sum &+= coefficients[tap] &* samples[index - 1 - tap] }
          samples[index] &+= sum &>> shift
        }
      }
    }
  }

  /// Reads what predictions are off by, in partitions of Rice codes or plain numbers.
  private mutating func readResidual(_ bits: inout FLACBits, _ start: Int, order: Int) throws(FLACFault) {
    let method = try bits.read(2)
    guard method < 2 else { throw .damaged("a residual without a reserved method") }
    let parameterBits = method == 0 ? 4 : 5
    let escape = (1 << parameterBits) - 1
    let partitionOrder = try Int(bits.read(4))
    let partitionSize = blockSize >> partitionOrder
    guard partitionSize << partitionOrder == blockSize, partitionSize >= order else {
      throw .damaged("a block of \(blockSize) samples in whole partitions")
    }
    var index = start + order
    for partition in 1...(1 << partitionOrder) {
      let end = start + partition * partitionSize
      let parameter = try Int(bits.read(parameterBits))
      if parameter == escape {
        let width = try Int(bits.read(5))
        while index < end {
          samples[index] = try bits.signed(width)
          index += 1
        }
        continue
      }
      while index < end {
        let high = try bits.unary()
        // A residual has at most 32 bits.
        guard high <= 0xFFFF_FFFF &>> UInt64(parameter) else { throw .damaged("residuals of 32 bits") }
        let folded = high &<< UInt64(parameter) | (try bits.read(parameter))
        samples[index] = Int64(folded >> 1) ^ -Int64(folded & 1)
        index += 1
      }
    }
  }

  /// Makes left and right out of what is stored of two channels.
  private mutating func restore(_ channels: Channels) {
    let size = blockSize
    switch channels {
    case .independent: break
    case .leftSide: for index in 0..<size { samples[size + index] = samples[index] &- samples[size + index] }
    case .sideRight: for index in 0..<size { samples[index] &+= samples[size + index] }
    case .midSide:
      for index in 0..<size {
        let side = samples[size + index]
        // The bit that the mean lost is the lowest of the difference.
        let sum = samples[index] << 1 | side & 1
        samples[index] = (sum &+ side) >> 1
        samples[size + index] = (sum &- side) >> 1
      }
    }
  }
}
