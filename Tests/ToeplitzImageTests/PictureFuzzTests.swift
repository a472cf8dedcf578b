import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor

@testable import ToeplitzImage

/// Seeded mutations of good pictures: every result is a picture or a ``ToeplitzError``, never a crash or a hang.
@Suite struct PictureFuzzTests {
  /// More rounds on request: `PICTURE_ROUNDS=5000 swift test --filter PictureFuzz`.
  private static let rounds = ProcessInfo.processInfo.environment["PICTURE_ROUNDS"].flatMap { Int($0) } ?? 300

  private static func mutate(_ bytes: [UInt8], _ random: inout RandomSource) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
      let at = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, at + Int.random(in: 1...16, using: &random))
      switch Int.random(in: 0..<8, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(at..<end)
      case 3: bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &random))
      case 4: bytes.removeSubrange(at...)
      case 5:
        // Markers of JPEG, whose order is where its rules are.
        bytes[at] = 0xFF
        if at + 1 < bytes.count { bytes[at + 1] = UInt8.random(in: 0xC0...0xEF, using: &random) }
      case 6: bytes[at] = Array("0123456789 #\n".utf8).randomElement(using: &random) ?? 0
      default: bytes[at % min(bytes.count, 64)] = UInt8.random(in: 0...255, using: &random)
      }
    }
    return bytes
  }

  /// A PNG with the checksums that its chunks have now: else nearly every change would end there.
  private static func mended(_ bytes: [UInt8]) -> [UInt8] {
    var (bytes, at) = (bytes, 8)
    while at + 12 <= bytes.count {
      let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
      guard length <= bytes.count - at - 12 else { break }
      let checksum = bytes[(at + 4)..<(at + 8 + length)].withUnsafeBytes { CRC32.checksum($0) }
      for index in 0..<4 {
        bytes[at + 8 + length + index] = UInt8(truncatingIfNeeded: checksum >> UInt32(24 - 8 * index))
      }
      at += 12 + length
    }
    return bytes
  }

  @Test(arguments: PictureTests.names)
  func mutatedPicturesNeverCrash(_ name: String) throws {
    let original = try PictureTests.bytes(name)
    var random = RandomSource(seed: UInt64(original.count))
    var refused = 0
    for _ in 0..<Self.rounds {
      var bytes = Self.mutate(original, &random)
      if name.hasSuffix("png") { bytes = Self.mended(bytes) }
      do {
        let picture = try PictureTests.picture(bytes)
        #expect(picture.samples.count == 3 * picture.width * picture.height)
      } catch let error as ToeplitzError {
        refused += 1
        #expect(!error.description.contains("\n"))
      }
    }
    #expect(refused > 0)
  }

  @Test func randomScansNeverCrash() throws {
    // Headers of progressive pictures with anything as their coefficients.
    var random = RandomSource(seed: 5)
    for name in ["progressive.jpg", "420-progressive.jpg", "cmyk-progressive.jpg", "chroma.jpg"] {
      let original = try PictureTests.bytes(name)
      let start = try #require(original.indices.dropLast().first { original[$0] == 0xFF && original[$0 + 1] == 0xDA })
      for _ in 0..<Self.rounds {
        var bytes = original
        for index in (start + 14)..<(bytes.count - 2) where bytes[index] != 0xFF && bytes[index - 1] != 0xFF {
          if Int.random(in: 0..<20, using: &random) == 0 { bytes[index] = UInt8.random(in: 0...254, using: &random) }
        }
        do {
          _ = try PictureTests.picture(bytes)
        } catch is ToeplitzError {}
      }
    }
  }
}
