import ToeplitzTensor

/// Reads FLAC files (RFC 9639).
///
/// Frames do not say how long they are, so all are decoded once to find them, and their checksums and that of all samples
/// are verified on the way. What is kept is where each begins.
struct FLACDecoder: AudioDecoder {
  private let info: FLACStreamInfo
  private let file: MappedFile
  private let path: String
  /// Where the frames begin in the file, and with which sample.
  private let frames: [(offset: Int, sample: Int)]
  let frameCount: Int
  let warnings: [String]
  /// The frame decoded last: reads of windows overlap.
  private let recent = Lock<(frame: Int, blockSize: Int, samples: [Int64])?>(nil)

  var sampleRate: Int { info.sampleRate }
  var channelCount: Int { info.channelCount }
  var encoding: AudioFile.Encoding { .flac }
  var bitsPerSample: Int { info.bitsPerSample }

  /// Checks a whole file.
  ///
  /// - Parameter start: where `fLaC` stands.
  /// - Throws: ``ToeplitzError`` of kind `format` if it is damaged; one that only ends too early gives a warning.
  init(_ file: MappedFile, from start: Int, path: String) throws {
    let bytes = file.bytes.bindMemory(to: UInt8.self)
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.format, path, expected: expected, got: got)
    }
    let (info, first) = try Self.readMetadata(bytes, from: start + 4, refuse)
    var decoder = FLACFrameDecoder(info, bytes)
    var frames: [(offset: Int, sample: Int)] = []
    var (offset, sample) = (first, 0)
    var digest = info.checksum.allSatisfy { $0 == 0 } ? nil : SampleDigest(bitsPerSample: info.bitsPerSample)
    var isCut = false
    while info.totalSamples == 0 || sample < info.totalSamples, !Self.isEnd(bytes, offset) {
      do {
        let next = try decoder.decode(at: offset)
        frames.append((offset, sample))
        digest?.add(decoder.samples, channels: info.channelCount, blockSize: decoder.blockSize)
        (offset, sample) = (next, sample + decoder.blockSize)
      } catch FLACFault.ended where bytes.count - offset <= Self.mostBytes(info) {
        isCut = true
        break
      } catch FLACFault.unsupported(let got) {
        throw ToeplitzError(
          .unsupported, path, expected: "a FLAC file with the same format from start to end", got: got)
      } catch FLACFault.damaged(let expected) {
        throw refuse("\(expected) behind sample \(sample)", "damage at byte \(offset)")
      } catch {
        throw refuse("a whole frame behind sample \(sample)", "damage at byte \(offset)")
      }
    }
    var warnings: [String] = []
    if isCut || sample < info.totalSamples {
      let promised = info.totalSamples > 0 ? "of the \(info.totalSamples) that its header promises" : "in a frame"
      warnings.append("ends after \(sample) samples \(promised)")
    } else if var digest, sample == info.totalSamples || info.totalSamples == 0 {
      let found = digest.finish()
      guard found == info.checksum else {
        throw refuse("samples with the MD5 sum \(Self.hexadecimal(info.checksum))", Self.hexadecimal(found))
      }
    }
    (self.info, self.file, self.path, self.frames, self.warnings) = (info, file, path, frames, warnings)
    frameCount = info.totalSamples > 0 ? min(sample, info.totalSamples) : sample
  }

  /// Nothing but a tag, or nothing at all.
  private static func isEnd(_ bytes: UnsafeBufferPointer<UInt8>, _ offset: Int) -> Bool {
    let rest = bytes[min(offset, bytes.count)...]
    return rest.isEmpty || ["TAG", "ID3", "APETAGEX"].contains { rest.starts(with: $0.utf8) }
      || rest.count <= 1 << 16 && rest.allSatisfy { $0 == 0 }
  }

  /// More bytes than a frame has: one of 65 536 uncompressed samples of each channel.
  ///
  /// A frame that is damaged can seem to reach to the end of the file. Where more follows than any frame takes, it was not cut.
  private static func mostBytes(_ info: FLACStreamInfo) -> Int { info.channelCount * 65_536 * 5 + 64 }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// Reads the metadata blocks.
  ///
  /// - Returns: The stream's, which is the first, and where the frames begin.
  private static func readMetadata(
    _ bytes: UnsafeBufferPointer<UInt8>, from start: Int, _ refuse: (String, String) -> ToeplitzError
  ) throws -> (FLACStreamInfo, Int) {
    func number(_ offset: Int, _ count: Int) -> Int { bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) } }
    var info: FLACStreamInfo?
    var position = start
    while true {
      guard bytes.count - position >= 4 else { throw refuse("metadata blocks", "a file that ends among them") }
      let (kind, size) = (bytes[position] & 0x7F, number(position + 1, 3))
      let isLast = bytes[position] & 0x80 != 0
      let body = position + 4
      guard size <= bytes.count - body else {
        throw refuse("\(size) bytes in a metadata block", "\(bytes.count - body), then the file ends")
      }
      guard kind != 127, (kind == 0) == (info == nil) else {
        throw refuse("one STREAMINFO block, as the first", "a block of type \(kind)")
      }
      if kind == 0 {
        guard size == 34 else { throw refuse("34 bytes in the STREAMINFO block", "\(size)") }
        let packed = UInt64(number(body + 10, 4)) << 32 | UInt64(number(body + 14, 4))
        info = FLACStreamInfo(
          sampleRate: Int(packed >> 44), channelCount: Int(packed >> 41 & 7) + 1,
          bitsPerSample: Int(packed >> 36 & 31) + 1, totalSamples: Int(packed & 0xF_FFFF_FFFF),
          checksum: Array(bytes[body + 18..<body + 34]))
      }
      position = body + size
      guard isLast, let info else { continue }
      let legal = AudioFile.sampleRates
      guard legal.contains(info.sampleRate) else {
        throw refuse("a sample rate of \(legal.lowerBound) to \(legal.upperBound) Hz", "\(info.sampleRate)")
      }
      guard info.bitsPerSample >= 4 else { throw refuse("4 to 32 bits per sample", "\(info.bitsPerSample)") }
      return (info, position)
    }
  }

  func decode(_ groups: [Range<Int>], _ range: Range<Int>, into target: inout [[Float]]) throws {
    // The last frame that begins at or before the first sample.
    var (low, high) = (0, frames.count)
    while high - low > 1 {
      let middle = (low + high) / 2
      if frames[middle].sample <= range.lowerBound { low = middle } else { high = middle }
    }
    let scale = 1 / Double(Int64(1) << Int64(info.bitsPerSample - 1))
    for index in low..<frames.count where frames[index].sample < range.upperBound {
      let (size, samples) = try block(index)
      let start = frames[index].sample
      let part = max(range.lowerBound, start)..<min(range.upperBound, start + size)
      for (group, channels) in groups.enumerated() {
        let factor = scale / Double(channels.count)
        for sample in part {
          var sum: Int64 = 0
          for channel in channels { sum += samples[channel * size + sample - start] }
          target[group][sample - range.lowerBound] = Float(Double(sum) * factor)
        }
      }
    }
  }

  /// The samples of a frame, channel after channel.
  private func block(_ index: Int) throws -> (blockSize: Int, samples: [Int64]) {
    if let kept = recent.withLock({ $0 }), kept.frame == index { return (kept.blockSize, kept.samples) }
    var decoder = FLACFrameDecoder(info, file.bytes.bindMemory(to: UInt8.self))
    do {
      _ = try decoder.decode(at: frames[index].offset)
    } catch {
      // It was whole when the file was opened.
      throw ToeplitzError(.file, path, expected: "a file that does not change while it is read", got: "another")
    }
    let samples = decoder.samples
    recent.withLock { $0 = (index, decoder.blockSize, samples) }
    return (decoder.blockSize, samples)
  }
}

/// The MD5 sum of samples, which counts those of all channels in turn in as many bytes as their bits fill, lowest first.
private struct SampleDigest {
  private var md5 = MD5()
  private var bytes: [UInt8] = []
  private let width: Int

  init(bitsPerSample: Int) { width = (bitsPerSample + 7) / 8 }

  /// Takes the samples of a block, which lie channel after channel.
  mutating func add(_ samples: [Int64], channels: Int, blockSize: Int) {
    let count = channels * blockSize * width
    if bytes.count < count { bytes = Array(repeating: 0, count: count) }
    samples.withUnsafeBufferPointer { samples in
      bytes.withUnsafeMutableBufferPointer { bytes in
        var place = 0
        for index in 0..<blockSize {
          for channel in 0..<channels {
            var value = samples[channel * blockSize + index]
            for _ in 0..<width {
              bytes[place] = UInt8(truncatingIfNeeded: value)
              value >>= 8
              place += 1
            }
          }
        }
      }
    }
    bytes.withUnsafeBytes { md5.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
  }

  mutating func finish() -> [UInt8] { md5.finish() }
}
