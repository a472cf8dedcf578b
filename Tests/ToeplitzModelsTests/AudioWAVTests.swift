import Foundation
import Testing
import ToeplitzTensor

@testable import ToeplitzModels

@Suite struct AudioWAVReading {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  private func encode(_ values: [Double], _ format: WAVSampleFormat) -> [UInt8] {
    values.flatMap { value -> [UInt8] in
      switch format {
      case .uint8: [UInt8(value * 128 + 128)]
      case .int16: bytes(Int16(value * 32768))
      case .int24: Array(bytes(Int32(value * 8_388_608)).prefix(3))
      case .int32: bytes(Int32(value * 2_147_483_648))
      case .float32: bytes(Float(value).bitPattern)
      case .float64: bytes(value.bitPattern)
      // As near as it comes: the codes are tested by themselves.
      case .muLaw:
        [UInt8(G711.muLaw.indices.min { distance(G711.muLaw[$0], value) < distance(G711.muLaw[$1], value) } ?? 0)]
      case .aLaw:
        [UInt8(G711.aLaw.indices.min { distance(G711.aLaw[$0], value) < distance(G711.aLaw[$1], value) } ?? 0)]
      }
    }
  }

  private func distance(_ code: Int16, _ value: Double) -> Double { abs(Double(code) / 32768 - value) }

  /// Multiples of 1/64, exact in every format.
  private let values = (-64..<64).map { Double($0) / 64 }

  @Test(arguments: WAVSampleFormat.allCases, [false, true])
  func everyFormat(_ format: WAVSampleFormat, extensible: Bool) throws {
    let bits = UInt16(format.byteCount * 8)
    let body =
      extensible
      ? extensibleBody(format.code, channels: 2, bits: bits)
      : formatBody(format.code, channels: 2, bits: bits)
    let path = try folder.write(riff(chunk("fmt ", body), chunk("data", encode(values, format))))
    let file = try AudioFile(path: path)
    #expect(file.encoding == format.encoding && file.bitsPerSample == format.byteCount * 8)
    #expect(file.warnings.isEmpty)
    #expect(file.channelCount == 2)
    #expect(file.sampleRate == 8000)
    #expect(file.frameCount == 64)
    #expect(file.duration == 0.008)
    let planar = try file.read()
    if format != .muLaw && format != .aLaw {
      #expect(planar[0] == (0..<64).map { Float(values[2 * $0]) })
      #expect(planar[1] == (0..<64).map { Float(values[2 * $0 + 1]) })
    }
    #expect(try file.readMono() == zip(planar[0], planar[1]).map { ($0 + $1) / 2 })
    #expect(
      zip(planar[0], values.enumerated().filter { $0.offset % 2 == 0 }).allSatisfy {
        abs(Double($0) - $1.element) < 0.02
      })
    #expect(try file.read(frames: 5..<9)[1] == Array(planar[1][5..<9]))
    #expect(try file.readMono(frames: 64..<64) == [])
  }

  @Test func extremesOfPCM() throws {
    func read(_ bits: UInt16, _ data: [UInt8]) throws -> [Float] {
      try AudioFile(path: folder.write(riff(chunk("fmt ", formatBody(bits: bits)), chunk("data", data))))
        .readMono()
    }
    #expect(try read(8, [0, 128, 255]) == [-1, 0, 127 / 128])
    #expect(try read(16, bytes(Int16.min) + bytes(Int16.max)) == [-1, 32767 / 32768])
    #expect(try read(24, [0, 0, 0x80, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]) == [-1, 1 - 0x1p-23, -0x1p-23])
    #expect(try read(32, bytes(Int32.min) + bytes(Int32(1))) == [-1, 0x1p-31])
  }

  @Test func skipsUnknownAndOddChunks() throws {
    let path = try folder.write(
      riff(
        chunk("JUNK", [1, 2, 3]), chunk("fmt ", formatBody() + [0, 0]), chunk("LIST", [9]),
        chunk("data", bytes(Int16(16384))), chunk("id3 ", [1, 2, 3])))
    #expect(try AudioFile(path: path).readMono() == [0.5])
  }

  @Test(arguments: [
    // Size of RIFF, size of the samples: what writers to a pipe leave behind.
    (UInt32(0xFFFF_FFFF), UInt32(0xFFFF_FFFF)), (0, 0), (36, 0), (0xFFFF_FFFF, 0), (0x7FFF_F024, 0x7FFF_F000),
    (40, 0xFFFF_FFFF),
  ])
  func streamedSizesReachToTheEnd(sizes: (UInt32, UInt32)) throws {
    let samples = bytes(Int16(16384)) + bytes(Int16(-16384)) + [7]
    let path = try folder.write(
      riff(
        chunk("fmt ", formatBody()), Array("data".utf8) + bytes(sizes.1) + samples, size: sizes.0))
    #expect(try AudioFile(path: path).readMono() == [0.5, -0.5])
  }

  @Test(arguments: [
    // What recorders to a pipe put for "unknown", silently read to the end.
    (UInt32(0x8000_0000), false), (0x7FFF_FFFF, false), (0x7FFF_FFDA, false), (0xFFFF_FFDB, false),
    (0x7FFF_0000, false),
    // A transfer that was cut, which is told.
    (1000, true), (6, true), (0x1000_0000, true),
    // Only the last frame is broken.
    (5, true),
  ])
  func sizesLargerThanTheFileReachToItsEnd(size: UInt32, warns: Bool) throws {
    let samples = bytes(Int16(16384)) + bytes(Int16(-16384)) + [7]
    let path = try folder.write(
      riff(chunk("fmt ", formatBody()), Array("data".utf8) + bytes(size) + samples, size: 36 &+ size))
    let file = try AudioFile(path: path)
    #expect(try file.readMono() == [0.5, -0.5])
    #expect(file.warnings.count == (warns ? 1 : 0), "\(file.warnings)")
  }

  @Test func aBrokenLastFrameBeforeOtherChunksIsDropped() throws {
    let path = try folder.write(
      riff(chunk("fmt ", formatBody(channels: 2)), chunk("data", [0, 64, 0, 192, 1, 2, 3]), chunk("LIST", [1, 2])))
    let file = try AudioFile(path: path)
    #expect(try file.read() == [[0.5], [-0.5]])
    #expect(file.warnings == ["the last frame has 3 of 4 bytes and is dropped"])
  }

  @Test func longFormatsThatAreCutAreRead() throws {
    for size in [UInt64(1000), .max, 1 << 40] {
      let sizes = bytes(UInt64.max) + bytes(size) + bytes(UInt64.max)
      let path = try folder.write(
        riff(
          chunk("ds64", sizes), chunk("fmt ", formatBody()), Array("data".utf8) + bytes(UInt32.max) + [0, 64],
          name: "RF64", size: .max))
      let file = try AudioFile(path: path)
      #expect(try file.readMono() == [0.5])
      #expect(file.warnings.isEmpty == (size == .max))
    }
    var long = wave64(["fmt ": formatBody(), "data": bytes(Int16(16384))])
    #expect(try AudioFile(path: folder.write(long)).readMono() == [0.5])
    long.removeLast(6)
    #expect(try AudioFile(path: folder.write(long)).readMono() == [0.5])
    long.append(contentsOf: bytes(Int16(-16384)))
    long.replaceSubrange(96..<104, with: bytes(UInt64(5000)))
    let file = try AudioFile(path: folder.write(long))
    #expect(try file.readMono() == [0.5, -0.5])
    #expect(file.warnings.count == 1)
  }

  @Test func bigEndianFiles() throws {
    func swapped(_ chunk: [UInt8], _ widths: [Int]) -> [UInt8] {
      var (result, place) = ([UInt8](), 0)
      for width in widths {
        result += chunk[place..<place + width].reversed()
        place += width
      }
      return result
    }
    let format = swapped(formatBody(), [2, 2, 4, 4, 2, 2])
    let path = try folder.write(
      Array("RIFX".utf8) + [0, 0, 0, 40] + Array("WAVEfmt ".utf8) + [0, 0, 0, 16] + format + Array("data".utf8)
        + [0, 0, 0, 4, 0x40, 0, 0xC0, 0])
    #expect(try AudioFile(path: path).readMono() == [0.5, -0.5])
  }

  @Test func emptySamplesBeforeOtherChunksAreEmpty() throws {
    let path = try folder.write(riff(chunk("fmt ", formatBody()), chunk("data", []), chunk("LIST", [1, 2])))
    #expect(try AudioFile(path: path).frameCount == 0)
    let bare = try folder.write(riff(chunk("fmt ", formatBody()), chunk("data", [])))
    #expect(try AudioFile(path: bare).readMono() == [])
    #expect(try AudioFile(path: bare).read() == [[]])
  }

  @Test func longFormat() throws {
    let samples = bytes(Int16(8192)) + bytes(Int16(-8192))
    let sizes = bytes(UInt64(80)) + bytes(UInt64(4)) + bytes(UInt64(2)) + bytes(UInt32(0))
    for name in ["RF64", "BW64"] {
      let path = try folder.write(
        riff(
          chunk("ds64", sizes), chunk("fmt ", formatBody()), Array("data".utf8) + bytes(UInt32.max) + samples,
          chunk("LIST", [1, 2]), name: name, size: UInt32.max))
      #expect(try AudioFile(path: path).readMono() == [0.25, -0.25])
    }
  }

  @Test func windowsAgreeWithTheWhole() throws {
    let file = try AudioFile(path: speechPath)
    #expect(file.frameCount == 125_952)
    #expect(file.sampleRate == 22_050)
    let whole = try file.readMono()
    var joined: [Float] = []
    for start in stride(from: 0, to: file.frameCount, by: 9973) {
      joined += try file.readMono(frames: start..<min(start + 9973, file.frameCount))
    }
    #expect(joined == whole)
    for range in [-1..<5, 0..<125_953, 125_953..<125_954] {
      #expect(toeplitzError { _ = try file.readMono(frames: range) }?.kind == .argument)
      #expect(toeplitzError { _ = try file.read(frames: range) }?.kind == .argument)
    }
  }

  @Test func refusesMoreThanMemory() throws {
    let path = folder.path("sparse.wav")
    let descriptor = open(path, O_CREAT | O_WRONLY, 0o600)
    let header = riff(
      chunk("fmt ", formatBody(bits: 8)), Array("data".utf8) + bytes(UInt32.max), size: UInt32.max)
    let written = header.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    #expect(written == header.count)
    let sparse = ftruncate(descriptor, 1 << 42) == 0
    close(descriptor)
    // Not every file system can hold a sparse file of 4 TiB, nor every address space map it.
    guard sparse, let file = try? AudioFile(path: path) else { return }
    #expect(toeplitzError { _ = try file.readMono() }?.kind == .memory)
    #expect(try file.readMono(frames: 1_000_000_000_000..<1_000_000_000_002) == [-1, -1])
  }
}

@Suite struct AudioWAVWriting {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func floatRoundTripIsExact() throws {
    let left = noise(40_000, seed: 1)
    let right = noise(40_000, seed: 2)
    let path = folder.path("float.wav")
    let writer = try WAVWriter(path: path, sampleRate: 44_100, channelCount: 2, encoding: .float32)
    try writer.append(planar: [Array(left[..<1000]), Array(right[..<1000])])
    try writer.append(planar: [Array(left[1000...]), Array(right[1000...])])
    #expect(writer.frameCount == 40_000)
    try writer.finish()
    let file = try AudioFile(path: path)
    #expect(file.encoding == .floatingPoint && file.bitsPerSample == 32 && file.sampleRate == 44_100)
    #expect(try file.read() == [left, right])
    let raw = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    #expect(raw.count == 58 + 320_000)
    #expect(Array(raw[4..<8]) == bytes(UInt32(raw.count - 8)))
    #expect(Array(raw[38..<50]) == Array("fact".utf8) + bytes(UInt32(4)) + bytes(UInt32(40_000)))
  }

  @Test func sixteenBitRoundsAndClips() throws {
    let path = folder.path("int.wav")
    let samples: [Float] = [
      0, 1, -1, 2, -2, 0.6 / 32768, -0.6 / 32768, 0.4 / 32768, .greatestFiniteMagnitude,
    ]
    try WAVWriter.write(samples, to: path, sampleRate: 8000)
    let expected: [Float] = [0, 32767, -32768, 32767, -32768, 1, -1, 0, 32767]
    #expect(try AudioFile(path: path).readMono() == expected.map { $0 / 32768 })
  }

  @Test func rewritesTheSpeechByteForByte() throws {
    let path = folder.path("speech.wav")
    try WAVWriter.write(AudioFile(path: speechPath).readMono(), to: path, sampleRate: 22_050)
    #expect(FileManager.default.contentsEqual(atPath: path, andPath: speechPath))
  }

  @Test func blocksOfAnySizeGiveTheSameFile() throws {
    let samples = noise(70_000, seed: 3)
    try WAVWriter.write(samples, to: folder.path("a.wav"), sampleRate: 16_000)
    let writer = try WAVWriter(path: folder.path("b.wav"), sampleRate: 16_000)
    var start = 0
    for size in [1, 7, 0, 30_000, 39_992] {
      try writer.append(Array(samples[start..<start + size]))
      start += size
    }
    #expect(start == samples.count)
    try writer.finish()
    #expect(FileManager.default.contentsEqual(atPath: folder.path("a.wav"), andPath: folder.path("b.wav")))
  }

  @Test func nothingAppearsBeforeTheEnd() throws {
    let path = try folder.write([1, 2, 3])
    do {
      let writer = try WAVWriter(path: path, sampleRate: 8000)
      try writer.append([0.5])
      #expect(folder.contents.count == 2)
      writer.cancel()
      #expect(folder.contents == ["test.wav"])
      #expect(toeplitzError { try writer.append([0]) }?.kind == .argument)
      #expect(toeplitzError { try writer.finish() }?.kind == .argument)
      writer.cancel()
    }
    do {
      let writer = try WAVWriter(path: path, sampleRate: 8000)
      try writer.append(noise(100_000, seed: 4))
    }
    #expect(folder.contents == ["test.wav"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([1, 2, 3]))
    let writer = try WAVWriter(path: path, sampleRate: 8000)
    try writer.finish()
    #expect(folder.contents == ["test.wav"])
    #expect(try AudioFile(path: path).frameCount == 0)
    #expect(toeplitzError { try writer.finish() }?.kind == .argument)
  }

  @Test func keepsSymbolicLinks() throws {
    let path = try folder.write([1])
    try FileManager.default.createSymbolicLink(atPath: folder.path("link.wav"), withDestinationPath: path)
    try WAVWriter.write([0.5], to: folder.path("link.wav"), sampleRate: 8000)
    #expect(try AudioFile(path: path).readMono() == [0.5])
    #expect(folder.contents == ["link.wav", "test.wav"])
  }

  @Test func refusesWhatCannotBeWritten() throws {
    let path = folder.path("x.wav")
    for place in [folder.path("none/x.wav"), folder.url.path, "", folder.path("none") + "/"] {
      #expect(toeplitzError { _ = try WAVWriter(path: place, sampleRate: 8000) }?.kind == .file)
    }
    for (rate, channels) in [
      (0, 1), (-1, 1), (Int.max, 1), (8000, 0), (8000, -1), (8000, 40_000), (1_536_000, 32_767),
    ] {
      let error = toeplitzError { _ = try WAVWriter(path: path, sampleRate: rate, channelCount: channels) }
      #expect(error?.kind == .argument)
    }
    let writer = try WAVWriter(path: path, sampleRate: 8000, channelCount: 2)
    #expect(toeplitzError { try writer.append([1, 2, 3]) }?.kind == .argument)
    #expect(toeplitzError { try writer.append([0, .nan]) }?.kind == .argument)
    #expect(toeplitzError { try writer.append([0, -.infinity]) }?.kind == .argument)
    #expect(toeplitzError { try writer.append(planar: [[1]]) }?.kind == .argument)
    #expect(toeplitzError { try writer.append(planar: [[1], []]) }?.kind == .argument)
    try writer.append([0.5, 0.25])
    try writer.finish()
    #expect(try AudioFile(path: path).read() == [[0.5], [0.25]])
  }

  @Test func refusesToExceedTheFormat() throws {
    let path = folder.path("long.wav")
    let writer = try WAVWriter(
      path: path, sampleRate: 8000, channelCount: 1, encoding: .int16, maximumFileSize: 44 + 20)
    try writer.append([Float](repeating: 0, count: 9))
    let error = toeplitzError { try writer.append([0, 0]) }
    #expect(error?.kind == .file && error?.operation == path)
    try writer.append([0.5])
    try writer.finish()
    #expect(try AudioFile(path: path).frameCount == 10)
  }
}
