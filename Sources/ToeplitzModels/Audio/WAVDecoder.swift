import ToeplitzTensor

/// How a WAV file stores one sample.
enum WAVSampleFormat: Sendable, Hashable, CaseIterable {
  /// Unsigned 8-bit PCM, 128 is silence.
  case uint8
  /// Signed 16-bit PCM.
  case int16
  /// Signed 24-bit PCM in three bytes.
  case int24
  /// Signed 32-bit PCM.
  case int32
  /// IEEE 754 single precision.
  case float32
  /// IEEE 754 double precision.
  case float64
  /// ITU-T G.711 mu-law.
  case muLaw
  /// ITU-T G.711 A-law.
  case aLaw

  /// Bytes of one sample of one channel.
  var byteCount: Int {
    switch self {
    case .uint8, .muLaw, .aLaw: 1
    case .int16: 2
    case .int24: 3
    case .int32, .float32: 4
    case .float64: 8
    }
  }

  /// The `wFormatTag` of the format.
  var code: UInt16 {
    switch self {
    case .uint8, .int16, .int24, .int32: 1
    case .float32, .float64: 3
    case .aLaw: 6
    case .muLaw: 7
    }
  }

  /// The format with this `wFormatTag` and container size.
  init?(code: UInt16, bits: Int) {
    guard let format = Self.allCases.first(where: { $0.code == code && $0.byteCount * 8 == bits }) else { return nil }
    self = format
  }

  var encoding: AudioFile.Encoding {
    switch self {
    case .uint8, .int16, .int24, .int32: .pcm
    case .float32, .float64: .floatingPoint
    case .muLaw: .muLaw
    case .aLaw: .aLaw
    }
  }

  /// What a stored number is multiplied with to lie in −1...1.
  fileprivate var scale: Double {
    switch self {
    case .uint8: 0x1p-7
    case .int16, .muLaw, .aLaw: 0x1p-15
    case .int24: 0x1p-23
    case .int32: 0x1p-31
    case .float32, .float64: 1
    }
  }
}

/// The 16-bit values of the codes of ITU-T recommendation G.711.
enum G711 {
  /// By code: a sign, an exponent of 3 bits and a fraction of 4, all inverted, with a bias of 33 on a scale of 14 bits.
  static let muLaw: [Int16] = (0..<256).map { code in
    let code = ~UInt8(code)
    let magnitude = (((Int16(code & 15) << 3) + 0x84) << Int16(code >> 4 & 7)) - 0x84
    return code & 0x80 != 0 ? -magnitude : magnitude
  }

  /// By code: a sign (1 is positive), an exponent and a fraction, every second bit inverted.
  static let aLaw: [Int16] = (0..<256).map { code in
    let code = UInt8(code) ^ 0x55
    let (exponent, fraction) = (Int16(code >> 4 & 7), Int16(code & 15) << 4)
    let magnitude = exponent == 0 ? fraction + 8 : (fraction + 0x108) << (exponent - 1)
    return code & 0x80 != 0 ? magnitude : -magnitude
  }
}

/// Reads the samples of WAV files.
struct WAVDecoder: AudioDecoder {
  private let header: WAVHeader
  private let file: MappedFile

  /// - Throws: ``ToeplitzError`` of kind `format` for anything that is not an uncompressed WAV file.
  init(_ file: MappedFile, path: String) throws {
    self.file = file
    header = try WAVHeader(bytes: file.bytes, path: path)
  }

  var sampleRate: Int { header.format.sampleRate }
  var channelCount: Int { header.format.channelCount }
  var frameCount: Int { header.frameCount }
  var encoding: AudioFile.Encoding { header.format.sampleFormat.encoding }
  var bitsPerSample: Int { header.format.sampleFormat.byteCount * 8 }
  var warnings: [String] { header.warnings }

  func decode(_ groups: [Range<Int>], _ frames: Range<Int>, into samples: inout [[Float]]) {
    let first = file.base + header.dataOffset + frames.lowerBound * header.format.bytesPerFrame
    for (index, group) in groups.enumerated() {
      samples[index].withUnsafeMutableBufferPointer {
        guard let target = $0.baseAddress else { return }
        header.format.decode(group, frames.count, at: first, isBigEndian: header.isBigEndian, into: target)
      }
    }
    withExtendedLifetime(file) {}
  }
}

extension WAVFormat {
  /// Puts the mean of some channels over `count` frames, which lie at `first`, into `target`.
  func decode(
    _ channels: Range<Int>, _ count: Int, at first: UnsafeRawPointer, isBigEndian isBig: Bool,
    into target: UnsafeMutablePointer<Float>
  ) {
    let (size, step) = (sampleFormat.byteCount, bytesPerFrame)
    let first = first + channels.lowerBound * size
    let scale = sampleFormat.scale / Double(channels.count)
    // In double, where the sum of all channels of any PCM format is exact.
    func fill(_ value: (UnsafeRawPointer) -> Double) {
      for frame in 0..<count {
        var sample = first + frame * step
        var sum = 0.0
        for _ in 0..<channels.count {
          sum += value(sample)
          sample += size
        }
        target[frame] = Float(sum * scale)
      }
    }
    func number<T: FixedWidthInteger & BitwiseCopyable>(_ place: UnsafeRawPointer, _ type: T.Type) -> T {
      let stored = place.loadUnaligned(as: T.self)
      return isBig ? T(bigEndian: stored) : T(littleEndian: stored)
    }
    switch sampleFormat {
    case .uint8: fill { Double(Int($0.load(as: UInt8.self)) - 128) }
    case .int16: fill { Double(number($0, Int16.self)) }
    case .int24:
      let (low, high) = isBig ? (2, 0) : (0, 2)
      fill { place in
        func byte(_ offset: Int) -> UInt32 { UInt32(place.load(fromByteOffset: offset, as: UInt8.self)) }
        return Double(Int32(bitPattern: byte(low) << 8 | byte(1) << 16 | byte(high) << 24) >> 8)
      }
    case .int32: fill { Double(number($0, Int32.self)) }
    case .float32: fill { Double(Float(bitPattern: number($0, UInt32.self))) }
    case .float64: fill { Double(bitPattern: number($0, UInt64.self)) }
    case .muLaw, .aLaw:
      let table = sampleFormat == .muLaw ? G711.muLaw : G711.aLaw
      fill { Double(table[Int($0.load(as: UInt8.self))]) }
    }
  }
}
