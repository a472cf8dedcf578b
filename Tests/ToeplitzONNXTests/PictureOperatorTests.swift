import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzGraph
import ToeplitzONNX
import ToeplitzTensor
import ToeplitzTestSupport

/// ImageDecoder on files against the pixels that Pillow reads.
@Suite struct PictureOperatorTests {
  private func decoded(_ model: String, _ bytes: [UInt8]) throws -> Tensor {
    let executable = try Executable(contentsOf: Fixtures.path("images/\(model).onnx"))
    return try executable.run(["x": Tensor(bytes, shape: nil, device: .cpu)])[0]
  }

  private func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("images/\(name)"))))
  }

  @Test(arguments: ["chroma.jpg", "progressive.jpg", "cmyk.jpg", "rgb.png", "palette.png", "runs-4.bmp", "raw.ppm"])
  func picturesAreDecoded(_ name: String) throws {
    let expected = try NumPy.readArchive(contentsOf: Fixtures.path("images/pixels.npz")).tensor(name)
    #expect(try decoded("decoder", bytes(name)).sameBits(as: expected))
    let bgr = try decoded("decoder-bgr", bytes(name)).flipped([2]).contiguous()
    #expect(try bgr.sameBits(as: expected))
  }

  @Test func greyIsThatOfPillow() throws {
    let expected = try NumPy.read(contentsOf: Fixtures.path("images/grey.npy"))
    let grey = try decoded("decoder-grey", bytes("chroma.jpg"))
    #expect(grey.shape == [19, 23, 1])
    #expect(try grey.scalars(UInt8.self) == expected.scalars(UInt8.self))
  }

  @Test func orientationIsNotApplied() throws {
    #expect(try decoded("decoder", bytes("exif-6.jpg")).shape == [8, 16, 3])
  }

  @Test func whatIsNoPictureIsEmpty() throws {
    #expect(try decoded("decoder", [1, 2, 3]).shape == [0, 0, 0])
    #expect(try decoded("decoder", Array(bytes("rgb.png").dropLast(40))).shape == [0, 0, 0])
    // A legal picture of a kind that is not read is an error, not an empty one.
    let error = #expect(throws: ToeplitzError.self) { try decoded("decoder", Array("GIF89a......".utf8)) }
    #expect(error?.kind == .unsupported)
  }
}
