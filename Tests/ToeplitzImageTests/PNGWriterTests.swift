import Foundation
import Testing
import ToeplitzTestSupport

@testable import ToeplitzImage
@testable import ToeplitzTensor

/// Written pictures are read back by the reader, which was tested against others' files.
@Suite struct PNGWriterTests {
  private func readBack(_ rgb: [UInt8], _ width: Int, _ height: Int) throws -> Picture {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "picture.png").path
    try Picture(width: width, height: height, rgb: rgb).save(to: path)
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
        let expected = channels == 3 ? pixels : pixels.flatMap { [$0, $0, $0] }
        let picture = try readBack(expected, width, height)
        #expect(picture.width == width && picture.height == height)
        #expect(picture.samples == .bytes(expected), "\(width) x \(height) x \(channels), \(kind)")
      }
    }
  }

  @Test func misfitsAreRefused() {
    for (count, width, height) in [(3, 2, 2), (13, 2, 2), (0, 0, 4)] {
      #expect(throws: ToeplitzError.self) {
        try Picture(width: width, height: height, rgb: [UInt8](repeating: 0, count: count))
      }
    }
  }
}
