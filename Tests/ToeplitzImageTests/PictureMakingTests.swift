import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzImage

/// Pictures that come from memory and go there.
@Suite struct PictureMakingTests {
  /// A picture with runs, gradients and noise, so that all kinds of codes occur.
  private func picture(width: Int, height: Int, seed: UInt64) throws -> Picture {
    var random = RandomSource(seed: seed)
    let rgb = (0..<(3 * width * height)).map { place -> UInt8 in
      let (x, y) = (place / 3 % width, place / 3 / width)
      return switch (x / 7 + y / 5) % 3 {
      case 0: 200
      case 1: UInt8(truncatingIfNeeded: x + 2 * y)
      default: UInt8.random(in: 0...255, using: &random)
      }
    }
    return try Picture(width: width, height: height, rgb: rgb)
  }

  @Test(arguments: [(1, 1), (3, 2), (64, 40), (301, 257), (1200, 90)])
  func writtenPicturesReadBack(width: Int, height: Int) throws {
    let picture = try picture(width: width, height: height, seed: UInt64(width))
    let png = picture.pngBytes()
    let back = try Picture(bytes: png)
    #expect((back.width, back.height) == (width, height) && back.samples == picture.samples)
    #expect(try Picture(bytes: Data(png)).bytes == picture.bytes)
    #expect(png.count < 3 * width * height + 3 * width * height / 8 + 100)
  }

  @Test func heatMapsGoFromBlueToYellow() throws {
    let map = try Picture(heatMap: [[0, 1, 2], [3, 4, .nan]], cell: (2, 3))
    #expect((map.width, map.height) == (6, 6))
    let bytes = map.bytes
    func colour(_ x: Int, _ y: Int) -> [UInt8] { Array(bytes[(3 * (y * 6 + x))..<(3 * (y * 6 + x) + 3)]) }
    for (x, y) in [(0, 0), (1, 2)] { #expect(colour(x, y) == [68, 1, 84]) }
    #expect(colour(4, 0) == [33, 145, 140] && colour(0, 3) == [94, 201, 98])
    #expect(colour(2, 5) == [253, 231, 37] && colour(5, 5) == [128, 128, 128])
    // Beyond the range values have the colours of its ends; all alike is the lowest.
    #expect(try Picture(heatMap: [[-9, 9]], range: 0...1).bytes == [68, 1, 84, 253, 231, 37])
    #expect(try Picture(heatMap: [[5, 5]]).bytes == [68, 1, 84, 68, 1, 84])
  }

  @Test func heatMapsThatCannotBeAreRefused() throws {
    #expect(throws: ToeplitzError.self) { try Picture(heatMap: []) }
    #expect(throws: ToeplitzError.self) { try Picture(heatMap: [[]]) }
    #expect(throws: ToeplitzError.self) { try Picture(heatMap: [[1, 2], [3]]) }
    #expect(throws: ToeplitzError.self) { try Picture(heatMap: [[1]], cell: (0, 1)) }
    #expect(throws: ToeplitzError.self) { try Picture(heatMap: [[1]], cell: (1 << 20, 1 << 20)) }
  }

  @Test func runsAreWrittenShort() throws {
    let plain = try Picture(width: 200, height: 200, rgb: [UInt8](repeating: 9, count: 120_000))
    #expect(plain.pngBytes().count < 3_000)
  }

  @Test func filesAreWritten() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let picture = try picture(width: 20, height: 10, seed: 4)
    let path = folder.appending(path: "picture.png").path
    try picture.save(to: path)
    #expect(try Picture(contentsOf: path).samples == picture.samples)
  }

  @Test(arguments: ["rgb.png", "baseline.jpg"])
  func filesInMemoryAreTheFiles(_ name: String) throws {
    let names = PictureTests.names
    let name = names.contains(name) ? name : try #require(names.first { $0.hasSuffix(name.suffix(4)) })
    let bytes = try PictureTests.bytes(name)
    let expected = try Picture(contentsOf: Fixtures.path("images/\(name)"))
    #expect(try Picture(bytes: bytes).samples == expected.samples)
    #expect(try Picture(bytes: Data(bytes)).samples == expected.samples)
    #expect(try Picture(bytes: ([0] + bytes)[1...]).samples == expected.samples)
  }

  @Test func tensorsBecomePictures() throws {
    let picture = try picture(width: 9, height: 5, seed: 2)
    #expect(try Picture(picture.tensor()).samples == picture.samples)
    var form = Picture.TensorForm()
    form.dtype = .uint8
    #expect(try Picture(picture.tensor(form)).samples == picture.samples)
    let grey = try Tensor([-1, 0.5, 2, .nan] as [Float], shape: [1, 2, 2])
    #expect(try Picture(grey).bytes == [0, 0, 0, 128, 128, 128, 255, 255, 255, 0, 0, 0])
  }

  @Test func whatIsNoPictureIsRefused() throws {
    for make in [
      { try Picture(Tensor.zeros([2, 4, 4])) }, { try Picture(Tensor.zeros([4, 4])) },
      { try Picture(Tensor.zeros([3, 4, 4], dtype: .int32)) }, { try Picture(Tensor.zeros([3, 0, 4])) },
      { try Picture(width: 2, height: 2, rgb: [1, 2, 3]) }, { try Picture(width: -1, height: 2, rgb: []) },
      { try Picture(width: .max, height: .max, rgb: []) }, { try Picture(bytes: [UInt8]()) },
    ] as [() throws -> Picture] {
      #expect(throws: ToeplitzError.self) { _ = try make() }
    }
  }
}
