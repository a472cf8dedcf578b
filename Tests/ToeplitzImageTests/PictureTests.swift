import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzImage

/// Picture files against the pixels that Pillow reads, upright (`Tests/Fixtures/images/generate.py`).
@Suite struct PictureTests {
  static let names: [String] = {
    (try? NumPy.readArchive(contentsOf: Fixtures.path("images/pixels.npz")).names.sorted()) ?? []
  }()

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("images/\(name)"))))
  }

  static func picture(_ bytes: [UInt8], upright: Bool = true) throws -> Picture {
    try bytes.withUnsafeBytes { try Picture($0, FilePlace(file: "test"), appliesOrientation: upright) }
  }

  /// How far the numbers of a picture are from those in an archive.
  private func distance(_ picture: Picture, _ member: String, in archive: String) throws -> Int {
    let expected = try NumPy.readArchive(contentsOf: Fixtures.path("images/\(archive)")).tensor(member)
    #expect(expected.shape == [picture.height, picture.width, 3], "\(member)")
    func most<S: FixedWidthInteger & TensorScalar>(_ samples: [S]) throws -> Int {
      try zip(samples, expected.scalars(S.self)).map { abs(Int($0) - Int($1)) }.max() ?? 0
    }
    switch picture.samples {
    case .bytes(let samples): return try most(samples)
    case .words(let samples): return try most(samples)
    }
  }

  @Test func allKindsAreThere() {
    #expect(Self.names.count == 52)
    for kind in ["jpg", "png", "bmp", "pbm", "pgm", "ppm"] { #expect(Self.names.contains { $0.hasSuffix("." + kind) }) }
  }

  @Test(arguments: names)
  func pixelsAreThoseOfPillow(_ name: String) throws {
    let picture = try Picture(contentsOf: Fixtures.path("images/\(name)"))
    #expect(picture.bitsPerSample == (name.hasPrefix("deep") ? 16 : 8))
    #expect(try distance(picture, name, in: "pixels.npz") == 0)
  }

  // MARK: - Orientation

  @Test func orientationIsOptional() throws {
    let stored = try Picture(contentsOf: Fixtures.path("images/portrait.jpg"), appliesOrientation: false)
    let upright = try Picture(contentsOf: Fixtures.path("images/portrait.jpg"))
    #expect((stored.width, stored.height) == (32, 16) && (upright.width, upright.height) == (16, 32))
    #expect(stored.oriented(.right).samples == upright.samples)
    for orientation in 1...8 {
      let turned = try Self.picture(Self.bytes("exif-\(orientation).jpg"), upright: false)
      #expect((turned.width, turned.height) == (16, 8))
    }
  }

  @Test func turnsUndoEachOther() throws {
    let picture = Picture(width: 3, height: 2, samples: .bytes((0..<18).map { UInt8($0) }))
    for orientation in Picture.Orientation.allCases {
      let inverse: Picture.Orientation = orientation == .left ? .right : orientation == .right ? .left : orientation
      #expect(picture.oriented(orientation).oriented(inverse).samples == picture.samples)
    }
    #expect(Set(Picture.Orientation.allCases.map { "\(picture.oriented($0))" }).count == 8)
  }

  @Test func damagedOrientationsAreNone() {
    func orientation(_ bytes: [UInt8]) -> Picture.Orientation? { bytes.withUnsafeBytes { .init(exif: $0) } }
    let good: [UInt8] = [0x49, 0x49, 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0]
    #expect(orientation(good) == .right)
    for count in 0..<20 { #expect(orientation(Array(good.prefix(count))) == nil) }
    var changed = good
    changed[18] = 9
    #expect(orientation(changed) == nil)
    changed = good
    (changed[4], changed[5], changed[6], changed[7]) = (255, 255, 255, 255)
    #expect(orientation(changed) == nil)
  }

  // MARK: - Refusals

  @Test(arguments: [
    (0xC3, 8, "lossless"), (0xC9, 8, "arithmetic"), (0xCA, 8, "arithmetic"), (0xCB, 8, "lossless"),
    (0xC5, 8, "hierarchical"), (0xC1, 12, "12 bits"),
  ])
  func kindsOfJPEGAreRefusedByName(_ marker: Int, _ precision: Int, _ word: String) throws {
    var bytes = try Self.bytes("sharp.jpg")
    let at = try #require(bytes.indices.dropLast().first { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xC0 })
    (bytes[at + 1], bytes[at + 4]) = (UInt8(marker), UInt8(precision))
    let error = #expect(throws: ToeplitzError.self) { try Self.picture(bytes) }
    #expect(error?.kind == .unsupported && error?.description.contains(word) == true, "\(String(describing: error))")
  }

  @Test(arguments: [
    ("GIF89a......", "GIF"), ("RIFF....WEBPVP8 ", "WebP"), ("II*\0........", "TIFF"), ("....ftypheic....", "HEIC"),
    ("....ftypavif....", "AVIF"), ("P7\nWIDTH 3\n", "PAM"), ("PF\n3 3\n", "PFM"),
  ])
  func otherFormatsAreNamed(_ text: String, _ word: String) {
    let error = #expect(throws: ToeplitzError.self) { try Self.picture(Array(text.utf8)) }
    #expect(error?.kind == .unsupported && error?.got.contains(word) == true)
  }

  @Test func damagedFilesAreRefused() throws {
    let png = try Self.bytes("rgb.png")
    var changed = png
    changed[40] ^= 1
    let checksum = #expect(throws: ToeplitzError.self) { try Self.picture(changed) }
    #expect(checksum?.description.contains("checksum") == true)
    for name in Self.names where !name.hasPrefix("exif") {
      let bytes = try Self.bytes(name)
      // All but the end of a sequential JPEG, which nothing depends on, and a bitmap's last line.
      for count in [0, 1, 2, 12, 30, bytes.count / 2, bytes.count * 3 / 4] where count < bytes.count - 12 {
        #expect(throws: ToeplitzError.self, "\(name) cut to \(count)") { try Self.picture(Array(bytes.prefix(count))) }
      }
    }
  }

  @Test(arguments: [
    "P5 99999999 99999999 255\n", "P5 0 3 255\n", "P5 3 -1 255\n", "P5 2 2 65536\n....", "P5 2 2 0\n....",
    "P2 2 1 9\n1 10",
    "P2 2 1 9\n1 x", "P1 2 1\n1 2", "P6 2 1 255\n.....", "P5 12345678901 1 255\n",
  ])
  func illegalPNMIsRefused(_ text: String) {
    let error = #expect(throws: ToeplitzError.self) { try Self.picture(Array(text.utf8)) }
    #expect(error?.kind == .format)
  }

  @Test func headersAloneAllocateNothing() throws {
    // The largest JPEG, PNG, BMP and PNM that the headers of small files can claim.
    var jpeg = try Self.bytes("progressive.jpg")
    let at = try #require(jpeg.indices.dropLast().first { jpeg[$0] == 0xFF && jpeg[$0 + 1] == 0xC2 })
    for index in (at + 5)..<(at + 9) { jpeg[index] = 0x1F }
    var bmp = try Self.bytes("runs-8.bmp")
    (bmp[19], bmp[23]) = (0x1F, 0x1F)
    for bytes in [jpeg, bmp, Array("P4 8000 8000\n....".utf8)] {
      let error = #expect(throws: ToeplitzError.self) { try Self.picture(bytes) }
      #expect(
        error?.kind == .format && error?.expected.contains("data for") == true
          || error?.expected.contains("bytes of") == true)
    }
  }

  @Test func scansMayNotRepeat() throws {
    // Else a file of a few kilobytes could make a decoder pass over a large picture for hours.
    let bytes = try Self.bytes("progressive.jpg")
    let starts = bytes.indices.dropLast().filter { bytes[$0] == 0xFF && bytes[$0 + 1] == 0xDA }
    let last = try #require(starts.last)
    let repeated = bytes.dropLast(2) + bytes[last...]
    let error = #expect(throws: ToeplitzError.self) { try Self.picture(Array(repeated)) }
    #expect(error?.description.contains("another scan of the same") == true)
  }

  // MARK: - Sizes

  @Test func sizesAreThoseOfPillow() throws {
    let picture = try Picture(contentsOf: Fixtures.path("images/rgb.png"))
    let names = try NumPy.readArchive(contentsOf: Fixtures.path("images/resized.npz")).names
    #expect(names.count == 10)
    for name in names {
      let words = name.split(separator: " ").map(String.init)
      let numbers = words.dropFirst().compactMap { Int($0) }
      let result: Picture
      switch words[0] {
      case "resized": result = try picture.resized(width: numbers[0], height: numbers[1])
      case "shorter": result = try picture.resized(shorterSide: numbers[0])
      case "cropped": result = try picture.centerCropped(width: numbers[0], height: numbers[1])
      case "filling": result = try picture.resizedToFill(width: numbers[0], height: numbers[1])
      default: result = try picture.letterboxed(width: numbers[0], height: numbers[1])
      }
      #expect(try distance(result, name, in: "resized.npz") == 0, "\(name)")
    }
  }

  @Test func deepPicturesKeepTheirDepth() throws {
    let picture = Picture(width: 2, height: 1, samples: .words([0, 1, 65535, 2, 1, 65535]))
    #expect(try picture.resized(width: 1, height: 1).samples == .words([1, 1, 65535]))
    let framed = try picture.letterboxed(width: 2, height: 2, level: 255)
    #expect(framed.samples == .words([0, 1, 65535, 2, 1, 65535] + Array(repeating: 65535, count: 6)))
  }

  @Test func longRowsAreTheSameInPieces() throws {
    // A slope: what is resized is one too, but for the edges.
    let long = (0..<10_000).flatMap { [UInt16($0), UInt16(2 * $0), UInt16(3 * $0)] }
    let wide = Picture(width: 10_000, height: 1, samples: .words(long))
    let tall = Picture(width: 1, height: 10_000, samples: .words(long))
    for (picture, length) in [(wide, 5000), (wide, 20_000)] {
      let result = try picture.resized(width: length, height: 1)
      guard case .words(let words) = result.samples else { continue }
      for x in 2..<(length - 2) {
        let place = (Double(x) + 0.5) * 10_000 / Double(length) - 0.5
        #expect(abs(Double(words[3 * x + 2]) - 3 * place) <= 1)
      }
      #expect(try tall.resized(width: 1, height: length).samples == result.samples)
    }
    #expect(try wide.resized(width: 10_000, height: 3).samples == .words(long + long + long))
  }

  @Test func impossibleSizesAreRefused() throws {
    let picture = Picture(width: 1, height: 3000, samples: .bytes([UInt8](repeating: 7, count: 9000)))
    for make in [
      { try picture.resized(width: 0, height: 5) }, { try picture.resized(width: 1 << 20, height: 1 << 20) },
      { try picture.resized(width: -1, height: Int.max) }, { try picture.resizedToFill(width: 60000, height: 1) },
      { try picture.letterboxed(width: 5, height: 0) }, { try picture.resized(shorterSide: Int.max) },
      { try picture.centerCropped(width: 2, height: 2) }, { try picture.cropped(x: 1, y: 0, width: 1, height: 1) },
      { try picture.cropped(x: Int.max, y: 0, width: 1, height: 1) },
    ] as [() throws -> Picture] {
      let error = #expect(throws: ToeplitzError.self) { try make() }
      #expect(error?.kind == .argument)
    }
    #expect(try picture.letterboxed(width: 4, height: 4).samples.count == 48)
  }

  // MARK: - Tensors

  private func form(_ change: (inout Picture.TensorForm) -> Void) -> Picture.TensorForm {
    var form = Picture.TensorForm()
    change(&form)
    return form
  }

  @Test func tensorsAreScaled() throws {
    let picture = Picture(width: 2, height: 1, samples: .bytes([255, 0, 51, 0, 255, 102]))
    let x = try picture.tensor(mean: [0.5, 0, 0], standardDeviation: [0.5, 1, 2])
    #expect(x.shape == [1, 3, 1, 2])
    #expect(try zip(x.scalars(Float.self), [1, -1, 0, 1, 0.1, 0.2]).allSatisfy { abs($0 - $1) < 1e-6 })
    // 255 · 0.299 + 51 · 0.114 is 82.06.
    #expect(try picture.tensor(channels: 1).scalars(Float.self)[0] == 82.0 / 255)
    let large = try picture.tensor(form { ($0.range, $0.mean) = (255, [1]) })
    #expect(try large.scalars(Float.self) == [254, -1, -1, 254, 50, 101])
    #expect(throws: ToeplitzError.self) { try picture.tensor(channels: 2) }
    #expect(throws: ToeplitzError.self) { try picture.tensor(mean: [1, 2]) }
    #expect(throws: ToeplitzError.self) { try picture.tensor(standardDeviation: [0]) }
  }

  @Test func tensorsHaveOrdersAndTypes() throws {
    let picture = Picture(width: 2, height: 1, samples: .bytes([1, 2, 3, 4, 5, 6]))
    let last = try picture.tensor(form { ($0.layout, $0.dtype) = (.nhwc, .uint8) })
    #expect(try last.shape == [1, 1, 2, 3] && last.scalars(UInt8.self) == [1, 2, 3, 4, 5, 6])
    let bgr = try picture.tensor(form { ($0.order, $0.dtype) = (.bgr, .int64) })
    #expect(try bgr.scalars(Int64.self) == [3, 6, 2, 5, 1, 4])
    let half = try picture.tensor(form { ($0.dtype, $0.range) = (.float16, 255) })
    #expect(try half.scalars(Float16.self) == [1, 4, 2, 5, 3, 6])
    for (change, kind) in [
      ({ $0.dtype = .int8 }, .dtype), ({ $0.dtype = .bool }, .dtype),
      ({ ($0.dtype, $0.mean) = (.uint8, [1]) }, .dtype), ({ $0.range = .nan }, .argument),
    ] as [((inout Picture.TensorForm) -> Void, ToeplitzError.Kind)] {
      let error = #expect(throws: ToeplitzError.self) { try picture.tensor(form(change)) }
      #expect(error?.kind == kind)
    }
  }

  @Test func deepTensorsAreNotCut() throws {
    let picture = Picture(width: 1, height: 1, samples: .words([257, 1, 65535]))
    #expect(try picture.tensor().scalars(Float.self) == [Float(257) / 65535, Float(1) / 65535, 1])
    #expect(try picture.tensor(form { $0.dtype = .uint16 }).scalars(UInt16.self) == [257, 1, 65535])
    #expect(try picture.tensor(form { $0.dtype = .uint8 }).scalars(UInt8.self) == [1, 0, 255])
  }
}
