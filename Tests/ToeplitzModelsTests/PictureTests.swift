import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzModels

/// PNG and JPEG files against the pixels that Pillow reads.
@Suite struct PictureTests {
  @Test(arguments: ["rgb.png", "rgba.png", "grey.png", "bits.png", "palette.png", "deep.png"])
  func pixelsOfPNG(_ name: String) throws {
    let picture = try Picture(contentsOf: Fixtures.path("images/\(name)"))
    let expected = try NumPy.readArchive(contentsOf: Fixtures.path("images/pixels.npz")).tensor(name)
    #expect(expected.shape == [picture.height, picture.width, 3])
    #expect(try picture.samples == expected.scalars(UInt8.self))
  }

  @Test(arguments: [("sharp.jpg", 3.0), ("grey.jpg", 3.0), ("chroma.jpg", 24.0)])
  func pixelsOfJPEG(_ name: String, _ tolerance: Double) throws {
    let picture = try Picture(contentsOf: Fixtures.path("images/\(name)"))
    let expected = try NumPy.readArchive(contentsOf: Fixtures.path("images/pixels.npz")).tensor(name)
    #expect(expected.shape == [picture.height, picture.width, 3])
    let differences = try zip(picture.samples, expected.scalars(UInt8.self)).map { abs(Double($0) - Double($1)) }
    // Chroma is repeated here and interpolated there.
    #expect(differences.allSatisfy { $0 <= tolerance })
    #expect(differences.reduce(0, +) / Double(differences.count) <= tolerance / 3)
  }

  @Test func tensorsAreScaled() throws {
    let picture = Picture(width: 2, height: 1, samples: [255, 0, 51, 0, 255, 102])
    let x = try picture.tensor(mean: [0.5, 0, 0], standardDeviation: [0.5, 1, 2])
    #expect(x.shape == [1, 3, 1, 2])
    #expect(try zip(x.scalars(Float.self), [1, -1, 0, 1, 0.1, 0.2]).allSatisfy { abs($0 - $1) < 1e-6 })
    let grey = try picture.tensor(channels: 1)
    #expect(abs(try grey.scalars(Float.self)[0] - (0.299 + 0.114 * 0.2)) < 1e-6)
    #expect(throws: ToeplitzError.self) { try picture.tensor(channels: 2) }
  }

  @Test func mutatedPicturesNeverCrash() throws {
    var random = RandomSource(seed: 8)
    for name in ["rgb.png", "palette.png", "sharp.jpg", "chroma.jpg"] {
      let original = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("images/\(name)"))))
      for round in 0..<500 {
        var bytes = original
        if round % 5 == 0 { bytes.removeLast(Int(random.nextUnit() * Double(bytes.count))) }
        for _ in 0..<(round % 4) where !bytes.isEmpty {
          bytes[Int(random.nextUnit() * Double(bytes.count))] = UInt8(random.nextUnit() * 256)
        }
        do {
          let picture = try bytes.withUnsafeBytes { try Picture($0, FilePlace(file: "test")) }
          #expect(picture.samples.count == 3 * picture.width * picture.height)
        } catch is ToeplitzError {}
      }
    }
  }
}
