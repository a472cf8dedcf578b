import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzModels

private func fixture(_ name: String) -> String { Fixtures.path("audio/\(name)") }

private func fileBytes(_ name: String) throws -> [UInt8] {
  Array(try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
}

/// A file with its depth and rate.
struct FLACCase: Sendable, CustomTestStringConvertible {
  var name: String
  var bits: Int
  var rate: Int
  var testDescription: String { name }

  init(_ name: String, _ bits: Int, _ rate: Int) { (self.name, self.bits, self.rate) = (name, bits, rate) }
}

private let flacCases = [
  FLACCase("constant", 16, 24_000), FLACCase("difference-33", 32, 44_100), FLACCase("eight-16", 16, 96_000),
  FLACCase("extremes", 16, 8000), FLACCase("mono-32", 32, 655_350), FLACCase("mono-8", 8, 8000),
  FLACCase("six-24", 24, 48_000), FLACCase("speech", 16, 22_050), FLACCase("stereo-12", 12, 11_025),
  FLACCase("stereo-20", 20, 22_050), FLACCase("stereo-24", 24, 37_800), FLACCase("stereo-32", 32, 192_000),
  FLACCase("stereo-fixed", 16, 48_000), FLACCase("stereo-seek", 16, 44_100), FLACCase("tagged", 8, 8000),
  FLACCase("unknown-length", 16, 16_000), FLACCase("variable-16", 16, 44_100), FLACCase("wasted", 16, 32_000),
]

@Suite struct AudioFLACReading {
  private let decoded: Checkpoint
  init() throws { decoded = try NumPy.readArchive(contentsOf: fixture("decoded.npz")) }

  /// What libFLAC decoded, one array a channel.
  private func golden(_ name: String, bits: Int) throws -> [[Float]] {
    let tensor = try decoded.tensor(name)
    let (frames, channels) = (tensor.shape[0], tensor.shape[1])
    let values = try tensor.scalars(Int32.self)
    let scale = 1 / Double(1 << (bits - 1))
    return (0..<channels).map { channel in
      (0..<frames).map { Float(Double(values[$0 * channels + channel]) * scale) }
    }
  }

  @Test(arguments: flacCases)
  func samplesAreThoseOfLibFLAC(_ flac: FLACCase) throws {
    let file = try AudioFile(path: fixture("\(flac.name).flac"))
    let expected = try golden(flac.name, bits: flac.bits)
    #expect(file.encoding == .flac && file.bitsPerSample == flac.bits && file.sampleRate == flac.rate)
    #expect(file.channelCount == expected.count && file.frameCount == expected[0].count)
    #expect(file.warnings.isEmpty)
    #expect(try file.read() == expected)
  }

  @Test(arguments: ["variable-16", "six-24", "speech"])
  func windowsAgreeWithTheWhole(_ name: String) throws {
    let file = try AudioFile(path: fixture("\(name).flac"))
    let (whole, mean) = (try file.read(), try file.readMono())
    for size in [1, 97, 1000] {
      var random = RandomSource(seed: UInt64(size))
      for _ in 0..<20 {
        let start = Int.random(in: 0...file.frameCount - min(size, file.frameCount), using: &random)
        let range = start..<min(start + size, file.frameCount)
        #expect(try file.read(frames: range) == whole.map { Array($0[range]) })
        #expect(try file.readMono(frames: range) == Array(mean[range]))
      }
    }
    #expect(try file.readMono(frames: 5..<5) == [])
    #expect(toeplitzError { _ = try file.read(frames: 0..<file.frameCount + 1) }?.kind == .argument)
  }

  @Test func readersShareAFile() async throws {
    let file = try AudioFile(path: fixture("variable-16.flac"))
    let whole = try file.readMono()
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for task in 0..<8 {
        group.addTask {
          var random = RandomSource(seed: UInt64(task))
          for _ in 0..<50 {
            let start = Int.random(in: 0..<2000, using: &random)
            guard try file.readMono(frames: start..<start + 500) == Array(whole[start..<start + 500]) else {
              return false
            }
          }
          return true
        }
      }
      for try await same in group { #expect(same) }
    }
  }

  @Test(arguments: [
    "ulaw", "alaw", "alaw-extensible", "wave64", "wave64-ulaw", "wave64-double", "rifx-16", "rifx-24", "rifx-float",
    "rifx-alaw", "rf64", "rf64-ulaw", "ulaw-codes", "alaw-codes",
  ])
  func wavFamilySamplesAreThoseOfLibsndfile(_ name: String) throws {
    let file = try AudioFile(path: fixture("\(name).wav"))
    let tensor = try decoded.tensor(name)
    let values = try tensor.scalars(Float.self)
    #expect(file.frameCount == tensor.shape[0] && file.channelCount == tensor.shape[1] && file.warnings.isEmpty)
    let planar = try file.read()
    for channel in 0..<tensor.shape[1] {
      #expect(planar[channel] == (0..<tensor.shape[0]).map { values[$0 * tensor.shape[1] + channel] })
    }
    #expect(try file.readMono() == (planar.count == 1 ? planar[0] : zip(planar[0], planar[1]).map { ($0 + $1) / 2 }))
  }

  @Test(arguments: [
    ("", "d41d8cd98f00b204e9800998ecf8427e"), ("abc", "900150983cd24fb0d6963f7d28e17f72"),
    (
      "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
      "57edf4a22be3c955ac49da2e2107b67a"
    ),
  ])
  func digestsOfRFC1321(text: String, digest: String) {
    for cut in [0, 1, text.utf8.count / 2] {
      var md5 = MD5()
      let bytes = Array(text.utf8)
      for part in [bytes.prefix(cut), bytes.dropFirst(cut)] { Array(part).withUnsafeBytes { md5.update($0) } }
      #expect(md5.finish().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }
  }
}

@Suite struct AudioFLACDamage {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test func aFileThatIsCutGivesWhatIsThere() throws {
    let whole = try fileBytes("variable-16.flac")
    let samples = try AudioFile(path: fixture("variable-16.flac")).read()
    for count in stride(from: whole.count - 1, to: 42, by: -211) {
      let file = try AudioFile(path: folder.write(Array(whole.prefix(count)), as: "cut.flac"))
      #expect(file.frameCount < samples[0].count)
      #expect(
        file.warnings.count == 1 && file.warnings[0].contains("ends after \(file.frameCount) samples of the 3000"))
      #expect(try file.read() == samples.map { Array($0.prefix(file.frameCount)) })
    }
    let open = try fileBytes("unknown-length.flac")
    let file = try AudioFile(path: folder.write(Array(open.dropLast(5)), as: "open.flac"))
    #expect(file.frameCount == 960 && file.warnings.count == 1)
    for count in 0..<42 {
      let path = try folder.write(Array(whole.prefix(count)), as: "stump.flac")
      #expect(toeplitzError { _ = try AudioFile(path: path) }?.kind == .format)
    }
  }

  @Test func everyDamagedByteIsFound() throws {
    let whole = try fileBytes("mono-8.flac")
    for place in 42..<whole.count {
      var bytes = whole
      bytes[place] ^= UInt8(1 << (place % 8))
      let path = try folder.write(bytes, as: "bad.flac")
      // Near the end damage can look as if the file were cut, which is told too.
      do {
        let file = try AudioFile(path: path)
        #expect(!file.warnings.isEmpty && file.frameCount < 1500, "byte \(place)")
      } catch let error as ToeplitzError {
        #expect(error.kind == .format || error.kind == .unsupported)
        #expect(error.description.contains("sample"), "\(error)")
      }
    }
  }

  @Test func headersThatLieAreRefused() throws {
    let whole = try fileBytes("mono-8.flac")
    func refusal(_ change: (inout [UInt8]) -> Void) throws -> String {
      var bytes = whole
      change(&bytes)
      let path = try folder.write(bytes, as: "bad.flac")
      let error = toeplitzError { _ = try AudioFile(path: path) }
      #expect(error?.kind == .format || error?.kind == .unsupported)
      return error?.description ?? ""
    }
    #expect(try refusal { $0[30] ^= 1 }.contains("MD5"))
    #expect(try refusal { $0[4] = 0x81 }.contains("STREAMINFO"))
    #expect(try refusal { $0[7] = 33 }.contains("34 bytes"))
    #expect(try refusal { $0[6] = 0xFF }.contains("then the file ends"))
    #expect(try refusal { $0[4] = 0 }.contains("metadata"))
    #expect(
      try refusal {
        $0[18] = 0; $0[19] = 0; $0[20] &= 15
      }.contains("sample rate"))
    // Two channels in the header, one in the frames.
    #expect(try refusal { $0[20] |= 2 }.contains("channels"))
  }

  @Test(arguments: [
    ("OggS\0\u{2}......", "an Ogg file"), ("FORM....AIFF", "an AIFF file"), ("....ftypM4A ", "an MP4 file"),
    ("ID3\u{4}\0\0\0\0\0\u{1}x....", "an MP3 file"), (".snd........", "an AU file"),
  ])
  func otherFormatsAreNamed(bytes: String, name: String) throws {
    let path = try folder.write(Array(bytes.utf8), as: "other.wav")
    let error = toeplitzError { _ = try AudioFile(path: path) }
    #expect(error?.kind == .unsupported && error?.got == name && error?.expected.contains("ffmpeg") == true)
    let mp3 = try folder.write([0xFF, 0xFB, 0x90, 0x44, 0, 0], as: "other.flac")
    #expect(toeplitzError { _ = try AudioFile(path: mp3) }?.got == "an MP3 file")
  }

  @Test(arguments: [1, 2] as [UInt64])
  func mutationsGiveSamplesOrAnError(seed: UInt64) throws {
    let seeds = try ["variable-16", "mono-8", "six-24", "difference-33", "extremes", "constant", "unknown-length"]
      .map { try fileBytes("\($0).flac") }
    let interesting: [UInt8] = [0, 1, 2, 3, 16, 127, 128, 254, 255]
    var random = RandomSource(seed: seed)
    var (read, refused) = (0, 0)
    for round in 0..<400 {
      var data = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        if data.isEmpty { data = [0] }
        // Headers are where most rules are.
        let place = Int.random(in: 0..<(Bool.random(using: &random) ? min(80, data.count) : data.count), using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: data[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: data[place] = interesting.randomElement(using: &random) ?? 0
        case 2: data.removeSubrange(place..<min(place + 4, data.count))
        case 3: data.insert(contentsOf: data[place..<min(place + 8, data.count)], at: place)
        case 4: data = Array(data[..<max(place, 1)])
        default:
          for index in place..<min(place + 4, data.count) {
            data[index] = interesting.randomElement(using: &random) ?? 0
          }
        }
      }
      do {
        let file = try AudioFile(path: folder.write(data, as: "mutated.flac"))
        let planar = try file.read()
        #expect(planar.count == file.channelCount && planar.allSatisfy { $0.count == file.frameCount })
        #expect(planar.allSatisfy { $0.allSatisfy { abs($0) <= 1 } })
        read += 1
      } catch let error as ToeplitzError {
        #expect(!error.description.contains("\n"))
        refused += 1
      }
    }
    // Both outcomes occur, or the test would test nothing.
    #expect(read > 20 && refused > 100)
  }

  /// Frames behind headers with the right checksum, of random bits: nothing but the decoder itself keeps it from harm.
  @Test func randomFramesNeverCrash() throws {
    var random = RandomSource(seed: 3)
    for (depth, channels) in [(8, 1), (16, 2), (24, 3), (32, 2), (4, 8)] {
      let info = FLACStreamInfo(
        sampleRate: 8000, channelCount: channels, bitsPerSample: depth, totalSamples: 0, checksum: [])
      for _ in 0..<60 {
        let assignment: UInt8 = channels == 2 ? [1, 8, 9, 10].randomElement(using: &random) ?? 1 : UInt8(channels - 1)
        var bytes: [UInt8] = [0xFF, 0xF8, 0x60, assignment << 4, 0, UInt8.random(in: 0...80, using: &random)]
        bytes.append(bytes.withUnsafeBufferPointer { FLACChecksum.crc8($0[...]) })
        for _ in 0..<200 {
          let (one, other) = (UInt8.random(in: 0...255, using: &random), UInt8.random(in: 0...255, using: &random))
          bytes.append(one & other)
        }
        bytes[7] = [0, 2, 16, 18, 20, 24, 64, 70, 100, 126].randomElement(using: &random) ?? 0
        #expect(throws: FLACFault.self) {
          try bytes.withUnsafeBufferPointer { bytes in
            var decoder = FLACFrameDecoder(info, bytes)
            _ = try decoder.decode(at: 0)
          }
        }
      }
    }
  }
}
