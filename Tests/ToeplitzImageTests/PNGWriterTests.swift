import Foundation
import Testing
import ToeplitzTestSupport

@testable import ToeplitzImage
@testable import ToeplitzTensor

/// Written pictures are read back by the reader, which was tested against others' files.
@Suite struct PNGWriterTests {
  private func readBack(_ pixels: [UInt8], _ width: Int, _ height: Int, _ channels: Int) throws -> Picture {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "picture.png").path
    try PNGWriter.write(pixels, width: width, height: height, channels: channels, to: path)
    return try Picture(contentsOf: path)
  }

  @Test func picturesComeBack() throws {
    var random = RandomSource(seed: 4)
    for (width, height, channels) in [(1, 1, 1), (7, 5, 3), (300, 40, 1), (640, 200, 3)] {
      for kind in 0..<3 {
        // Noise, runs of every length, and rows that repeat.
        let pixels = (0..<(width * height * channels)).map { index -> UInt8 in
          switch kind {
          case 0: UInt8(random.nextUnit() * 256)
          case 1: UInt8(truncatingIfNeeded: index / max(1, index % 613))
          default: UInt8(truncatingIfNeeded: index % (width * channels) * 7)
          }
        }
        let picture = try readBack(pixels, width, height, channels)
        #expect(picture.width == width && picture.height == height)
        let expected = channels == 3 ? pixels : pixels.flatMap { [$0, $0, $0] }
        #expect(picture.samples == .bytes(expected), "\(width) x \(height) x \(channels), \(kind)")
      }
    }
  }

  @Test func misfitsAreRefused() {
    for (count, width, height, channels) in [(3, 2, 2, 1), (8, 2, 2, 2), (0, 0, 4, 1)] {
      #expect(throws: ToeplitzError.self) {
        try PNGWriter.write(
          [UInt8](repeating: 0, count: count), width: width, height: height, channels: channels, to: "/tmp/never.png")
      }
    }
  }
}
