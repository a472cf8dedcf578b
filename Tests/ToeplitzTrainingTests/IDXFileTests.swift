import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzCheckpoint
@testable import ToeplitzTensor
@testable import ToeplitzTraining

@Suite struct IDXFileTests {
  private func read(_ bytes: [UInt8]) throws -> Tensor {
    try bytes.withUnsafeBytes { try IDXFile.read($0, FilePlace(file: "test.idx")) }
  }

  private let images: [UInt8] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 250, 251, 252]
  private let shorts: [UInt8] = [0, 0, 0x0B, 1, 0, 0, 0, 2, 1, 0, 0xFF, 0xFE]
  private let floats: [UInt8] = [0, 0, 0x0D, 1, 0, 0, 0, 1, 0x3F, 0xC0, 0, 0]

  @Test func filesAreRead() throws {
    let pixels = try read(images)
    #expect(pixels.shape == [2, 1, 3])
    #expect(try pixels.scalars(UInt8.self) == [1, 2, 3, 250, 251, 252])
    #expect(try read(shorts).scalars(Int16.self) == [256, -2])
    #expect(try read(floats).scalars(Float.self) == [1.5])
  }

  @Test func damageIsRefused() {
    for bytes in [
      [], [0, 0], [0, 0, 8, 200], [1, 0, 8, 1, 0, 0, 0, 1, 5], [0, 0, 7, 1, 0, 0, 0, 1, 5], images.dropLast(),
      images + [0], [0x1F, 0x8B, 8, 0], [0, 0, 8, 3] + [UInt8](repeating: 255, count: 12) + [1],
    ] as [[UInt8]] {
      let error = #expect(throws: ToeplitzError.self) { try read(bytes) }
      #expect(error?.kind == .format)
    }
  }

  /// Mutated files give a tensor or an error.
  @Test func mutationsNeverCrash() {
    var random = RandomSource(seed: 8)
    var read = 0
    for _ in 0..<4000 {
      var bytes = [images, shorts, floats][Int(random.nextUnit() * 3)]
      for _ in 0..<(1 + Int(random.nextUnit() * 3)) {
        let at = Int(random.nextUnit() * Double(bytes.count))
        switch Int(random.nextUnit() * 3) {
        case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[at] ^= 1 << UInt8(random.nextUnit() * 8)
        default: bytes = Array(bytes.prefix(max(1, at)))
        }
      }
      if (try? self.read(bytes)) != nil { read += 1 }
    }
    #expect(read > 100 && read < 4000)
  }
}
