import Foundation
import Testing
import ToeplitzModels
import ToeplitzTensor
import ToeplitzTestSupport

/// A file that must be refused, and a word of the reason.
struct BadWAV: Sendable, CustomTestStringConvertible {
  var name: String
  var reason: String
  var bytes: [UInt8]
  var testDescription: String { name }

  init(_ name: String, _ reason: String, _ bytes: [UInt8]) {
    self.name = name
    self.reason = reason
    self.bytes = bytes
  }
}

private let format = chunk("fmt ", formatBody())
private let samples = chunk("data", [1, 2, 3, 4])

private func withFormat(_ body: [UInt8]) -> [UInt8] { riff(chunk("fmt ", body), samples) }

private func longFile(data: UInt64) -> [UInt8] {
  let sizes = bytes(UInt64.max) + bytes(data) + bytes(UInt64.max)
  return riff(
    chunk("ds64", sizes), format, Array("data".utf8) + bytes(UInt32.max) + [1, 2], name: "RF64", size: .max)
}

private let badFiles: [BadWAV] = [
  BadWAV("empty", "an empty file", []),
  BadWAV("one byte", "starts 'R'", [82]),
  BadWAV("text renamed", "starts 'This'", Array("This is a text file and no sound at all.\n".utf8)),
  BadWAV("A-law of 16 bits", "A-law", withFormat(formatBody(6))),
  BadWAV("big endian, no chunks", "'fmt ' chunk", riff(name: "RIFX")),
  BadWAV("Wave64 cut", "40 bytes", Array(wave64([:]).prefix(30))),
  BadWAV("Wave64 of another kind", "other identifiers", wave64([:], kind: "avi ")),
  BadWAV("Wave64 chunk too short", "at least 24 bytes", wave64([:]) + wave64Chunk("fmt ", [], size: 23)),
  BadWAV("Wave64 chunk of 2⁶³ bytes", "then the file ends", wave64([:]) + wave64Chunk("fmt ", [], size: 1 << 63)),
  BadWAV("bytes that cannot be printed", "starts '?PNG'", [0x89, 0x50, 0x4E, 0x47, 13, 10, 26, 10]),
  BadWAV("header cut", "12 bytes", Array(riff(format, samples).prefix(8))),
  BadWAV("other RIFF", "type 'AVI '", Array("RIFF".utf8) + bytes(UInt32(4)) + Array("AVI LIST".utf8)),
  BadWAV("no chunks", "'fmt ' chunk", riff()),
  BadWAV("no samples", "'data' chunk", riff(format)),
  BadWAV("samples before format", "before the samples", riff(samples, format)),
  BadWAV("two formats", "a second one", riff(format, format, samples)),
  BadWAV("chunk header cut", "'data' chunk", riff(format, Array("dat".utf8))),
  BadWAV("format cut", "then the file ends", Array(riff(format, samples).prefix(30))),
  BadWAV("format short", "at least 16 bytes", withFormat(Array(formatBody().prefix(14)))),
  BadWAV(
    "unknown chunk of 4 GiB", "then the file ends", riff(Array("JUNK".utf8) + bytes(UInt32.max) + format)),
  BadWAV("no channels", "at least 1 channel", withFormat(formatBody(channels: 0))),
  BadWAV("rate 0", "sample rate", withFormat(formatBody(rate: 0))),
  BadWAV("rate 4 GHz", "sample rate", withFormat(formatBody(rate: .max))),
  BadWAV("block align 0", "block alignment", withFormat(formatBody(blockAlign: 0))),
  BadWAV("block align lies", "block alignment", withFormat(formatBody(blockAlign: 3))),
  BadWAV("too many channels", "block alignment", withFormat(formatBody(channels: .max, blockAlign: .max))),
  BadWAV("0 bits", "of 0 bits", withFormat(formatBody(bits: 0))),
  BadWAV("12 bits", "of 12 bits", withFormat(formatBody(bits: 12))),
  BadWAV("64-bit PCM", "of 64 bits", withFormat(formatBody(bits: 64))),
  BadWAV("16-bit float", "of 16 bits", withFormat(formatBody(3))),
  BadWAV("ADPCM", "ADPCM", withFormat(formatBody(2, bits: 4))),
  BadWAV("MP3", "MP3", withFormat(formatBody(0x55, bits: 0))),
  BadWAV("extensible short", "40 bytes", withFormat(Array(extensibleBody().prefix(24)))),
  BadWAV("extensible unknown", "unknown identifier", withFormat(extensibleBody().dropLast() + [0])),
  BadWAV("extensible of extensible", "format 65534", withFormat(extensibleBody(0xFFFE))),
  BadWAV("more valid bits than bits", "valid bits", withFormat(extensibleBody(valid: 17))),
  BadWAV("RF64 sizes short", "24 bytes", riff(chunk("ds64", [0, 0]), format, samples, name: "RF64")),
]

@Suite struct AudioWAVDamage {
  let folder: TemporaryFolder
  init() throws { folder = try TemporaryFolder() }

  @Test(arguments: badFiles)
  func refuses(_ bad: BadWAV) throws {
    let path = try folder.write(bad.bytes)
    let error = toeplitzError { _ = try AudioFile(path: path) }
    #expect(error?.kind == .format)
    #expect(error?.operation == path)
    #expect(error?.description.contains(bad.reason) == true, "\(error?.description ?? "")")
  }

  @Test func refusesWhatCannotBeOpened() {
    for path in [folder.path("none.wav"), folder.url.path, ""] {
      #expect(toeplitzError { _ = try AudioFile(path: path) }?.kind == .file)
    }
  }

  @Test func refusesSamplesThatAreNotFinite() throws {
    for value in [Double.nan, .infinity, -.infinity, 1e300] {
      let data = [0.5, 0.25, value].flatMap { bytes($0.bitPattern) }
      let path = try folder.write(riff(chunk("fmt ", formatBody(3, bits: 64)), chunk("data", data)))
      let file = try AudioFile(path: path)
      #expect(try file.readMono(frames: 0..<2) == [0.5, 0.25])
      let error = toeplitzError { _ = try file.readMono(frames: 1..<3) }
      #expect(error?.kind == .format && error?.got.contains("frame 2") == true)
      #expect(toeplitzError { _ = try file.read() }?.kind == .format)
    }
  }

  @Test func mutationsGiveSamplesOrAnError() throws {
    let seeds = [
      riff(chunk("JUNK", [1]), format, chunk("data", [UInt8](repeating: 77, count: 32))),
      withFormat(extensibleBody(3, channels: 2, bits: 32)),
      riff(chunk("fmt ", formatBody(bits: 24)), chunk("data", [UInt8](repeating: 1, count: 33)), size: 0),
      longFile(data: 2), wave64(["fmt ": formatBody(), "data": [UInt8](repeating: 3, count: 40)]),
      withFormat(formatBody(7, channels: 2, bits: 8)),
      try Array(Data(contentsOf: URL(fileURLWithPath: Fixtures.path("audio/rifx-24.wav")))),
    ]
    let interesting: [UInt8] = [0, 1, 2, 3, 16, 127, 128, 254, 255]
    var random = RandomSource(seed: 2024)
    var read = 0
    for round in 0..<4000 {
      var data = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let place = Int.random(in: 0..<data.count, using: &random)
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
        if data.isEmpty { data = [0] }
      }
      let path = try folder.write(data)
      do {
        let file = try AudioFile(path: path)
        let planar = try file.read()
        #expect(planar.count == file.channelCount && planar.allSatisfy { $0.count == file.frameCount })
        #expect(try file.readMono().count == file.frameCount)
        read += 1
      } catch let error as ToeplitzError {
        #expect([.format, .file, .unsupported].contains(error.kind))
      }
    }
    // Both outcomes occur, or the test would test nothing.
    #expect(read > 200 && read < 3800)
  }
}
