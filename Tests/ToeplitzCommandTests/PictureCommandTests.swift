import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

/// `toeplitz run` on pictures.
@Suite struct PictureCommandTests {
  private func images(_ name: String) -> String { Fixtures.path("images/\(name)") }

  /// What a model that hands its input on makes of a picture.
  private func read(_ picture: String, _ model: String, _ options: [String] = [], in folder: URL) throws -> Tensor {
    let result = try runTool(
      ["run", images(model), "--input", "x=\(picture)", "--output-dir", "out"] + options, in: folder)
    #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
    return try NumPy.read(contentsOf: folder.appending(path: "out/y.npy").path)
  }

  private func pixels(_ name: String) throws -> [Float] {
    let tensor = try NumPy.readArchive(contentsOf: images("pixels.npz")).tensor(name)
    return try tensor.permuted([2, 0, 1]).contiguous().scalars(UInt8.self).map { Float($0) }
  }

  @Test(arguments: ["red.jpg", "edge420.jpg", "portrait.jpg", "progressive.jpg", "ycck.jpg", "os2.bmp", "raw.ppm"])
  func picturesAreKnownByTheirBytes(_ name: String) throws {
    try withFolder { folder in
      for file in ["picture", "picture.wav"] {
        let copy = folder.appending(path: file)
        try FileManager.default.copyItem(atPath: images(name), toPath: copy.path)
        let x = try read(file, "float.onnx", in: folder).scalars(Float.self)
        #expect(try x.map { ($0 * 255).rounded() } == pixels(name))
      }
    }
  }

  @Test func inputsOfOtherTypesAndOrders() throws {
    try withFolder { folder in
      let rgb = images("raw.ppm")
      let expected = try NumPy.readArchive(contentsOf: images("pixels.npz")).tensor("raw.ppm")
      let bytes = try read(rgb, "bytes-last.onnx", in: folder)
      #expect(bytes.shape == [1, 19, 23, 3])
      #expect(try bytes.scalars(UInt8.self) == expected.scalars(UInt8.self))
      let swapped = try read(rgb, "bytes-last.onnx", ["--image-order", "bgr"], in: folder)
      #expect(try swapped.flipped([3]).contiguous().scalars(UInt8.self) == expected.scalars(UInt8.self))
      let half = try read(rgb, "half-8.onnx", ["--image-fit", "stretch", "--image-range", "255"], in: folder)
      #expect(half.shape == [1, 3, 8, 8] && half.dtype == .float16)
      #expect(try half.scalars(Float16.self).allSatisfy { $0 == $0.rounded() && $0 >= 0 && $0 <= 255 })
      #expect(try read(rgb, "grey.onnx", in: folder).shape == [1, 1, 19, 23])
      #expect(try read(rgb, "unclear.onnx", in: folder).shape == [1, 3, 19, 23])
      #expect(try read(rgb, "unclear.onnx", ["--image-layout", "nhwc"], in: folder).shape == [1, 19, 23, 3])
      let deep = try read(images("deep.png"), "float.onnx", in: folder).scalars(Float.self)
      #expect(deep.contains { ($0 * 255).rounded() / 255 != $0 })
    }
  }

  @Test func picturesAreFitted() throws {
    try withFolder { folder in
      let archive = try NumPy.readArchive(contentsOf: images("resized.npz"))
      for (options, name) in [
        (["--image-size", "8x10"], "resized 10 8"),
        (["--image-resize", "12"], "shorter 12"),
        (["--image-size", "16", "--image-fit", "crop"], "filling 16 16"),
        (["--image-size", "32x30", "--image-fit", "letterbox"], "letterboxed 30 32"),
        (["--image-resize", "19", "--image-size", "6x12"], "cropped 12 6"),
      ] {
        let y = try read(images("rgb.png"), "float.onnx", options, in: folder)
        let expected = try archive.tensor(name)
        #expect(y.shape == [1, 3, expected.shape[0], expected.shape[1]])
        let numbers = try expected.permuted([2, 0, 1]).contiguous().scalars(UInt8.self).map { Float($0) }
        #expect(try y.scalars(Float.self).map { ($0 * 255).rounded() } == numbers, "\(name)")
      }
      let stored = try read(images("portrait.jpg"), "float.onnx", ["--no-image-orientation"], in: folder)
      #expect(stored.shape == [1, 3, 16, 32])
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    try withFolder { folder in
      try Data("GIF89a".utf8).write(to: folder.appending(path: "a.png"))
      try Data("text".utf8).write(to: folder.appending(path: "b.png"))
      let rgb = images("rgb.png")
      let cases: [(String, [String], [String])] = [
        ("half-8.onnx", [rgb], ["height 8 and width 8", "--image-fit"]),
        ("half-8.onnx", [rgb, "--image-size", "9"], ["--image-size 8x8"]),
        ("float.onnx", [rgb, "--image-fit", "crop"], ["--image-size"]),
        ("float.onnx", [rgb, "--image-resize", "8", "--image-size", "9"], ["--image-resize", "9x9"]),
        ("bytes-last.onnx", [rgb, "--image-mean", "0.5"], ["--image-mean", "uint8"]),
        ("four.onnx", [rgb], ["C = 1 or 3", "float32[n, 4, h, w]"]),
        ("float.onnx", ["a.png"], ["GIF"]), ("float.onnx", ["b.png"], ["PNG, JPEG, BMP or PNM"]),
        ("float.onnx", ["none.jpg"], ["none.jpg", "readable file"]),
      ]
      for (model, arguments, words) in cases {
        let result = try runTool(
          ["run", images(model), "--input", "x=\(arguments[0])"] + arguments.dropFirst(), in: folder)
        #expect(result.status == 1 && result.errors.hasPrefix("error: "), "\(result.errors)")
        #expect(result.errors.split(separator: "\n").count == 1)
        for word in words { #expect(result.errors.contains(word), "\(word) is not in: \(result.errors)") }
      }
      for options in [
        ["--image-size", "0"], ["--image-size", "3x"], ["--image-size", "3x3x3"], ["--image-fit", "fill"],
        ["--image-order", "grb"], ["--image-fill", "256"], ["--image-range", "0"], ["--image-resize", "0"],
        ["--image-resize", "8", "--image-fit", "letterbox"],
      ] {
        let result = try runTool(["run", images("float.onnx"), "--input", "x=\(rgb)"] + options, in: folder)
        #expect(result.status == 64, "\(options): \(result.errors)")
      }
    }
  }

  @Test func memoryIsBoundedByPixels() throws {
    try withFolder { folder in
      // 144 bytes of PNG, 86 Kpixels, 704 MB of results.
      let wide = ["run", images("wide.onnx"), "--input", "x=\(images("plain-293.png"))"]
      let result = try runTool(wide, in: folder)
      #expect(result.status == 0 && result.output.hasPrefix("y: float32[1, 2048, 293, 293]"), "\(result.errors)")
      let refused = try runTool(wide + ["--memory", "600"], in: folder)
      #expect(refused.status == 1 && refused.errors.contains("at most \(600 << 20) bytes for all tensors (--memory)"))
      // Shapes tell, so nothing was computed.
      #expect(refused.errors.contains("a need for at least \(4 * 2048 * 293 * 293)"), "\(refused.errors)")
      let small = try runTool(wide + ["--memory", "1", "--image-size", "3000"], in: folder)
      #expect(small.status == 1 && small.errors.contains("a picture of 3000 x 3000"), "\(small.errors)")
    }
  }
}
