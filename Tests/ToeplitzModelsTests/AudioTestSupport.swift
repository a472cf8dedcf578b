import Foundation
import Testing
import ToeplitzModels
import ToeplitzTensor

/// A folder that is removed with everything in it when the object goes.
final class TemporaryFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("audio-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }

  func write(_ bytes: [UInt8], as name: String = "test.wav") throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
    return path(name)
  }

  var contents: [String] { (try? FileManager.default.contentsOfDirectory(atPath: url.path).sorted()) ?? [] }
}

/// The root of the package.
let packageRoot = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

let speechPath = packageRoot.appendingPathComponent("Sources/ToeplitzCommand/Resources/vocoder/speech.wav")
  .path

/// The bytes of an integer, lowest first.
func bytes<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// A RIFF chunk, padded to an even length.
func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
  Array(name.utf8) + bytes(UInt32(body.count)) + body + (body.count % 2 == 1 ? [0] : [])
}

/// The body of a `fmt ` chunk.
func formatBody(
  _ code: UInt16 = 1, channels: UInt16 = 1, rate: UInt32 = 8000, bits: UInt16 = 16, blockAlign: UInt16? = nil
) -> [UInt8] {
  let align = blockAlign ?? channels &* (bits / 8)
  return bytes(code) + bytes(channels) + bytes(rate) + bytes(rate &* UInt32(align)) + bytes(align)
    + bytes(bits)
}

/// The body of an extensible `fmt ` chunk.
func extensibleBody(_ code: UInt16 = 1, channels: UInt16 = 1, bits: UInt16 = 16, valid: UInt16? = nil)
  -> [UInt8]
{
  formatBody(0xFFFE, channels: channels, bits: bits) + bytes(UInt16(22)) + bytes(valid ?? bits)
    + bytes(UInt32(4)) + bytes(code)
    + [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]
}

/// A RIFF file of the given chunks.
func riff(_ chunks: [UInt8]..., name: String = "RIFF", size: UInt32? = nil) -> [UInt8] {
  let body = Array("WAVE".utf8) + chunks.flatMap { $0 }
  return Array(name.utf8) + bytes(size ?? UInt32(body.count)) + body
}

/// A chunk of a Wave64 file, whose size counts its header.
func wave64Chunk(_ name: String, _ body: [UInt8], size: UInt64? = nil) -> [UInt8] {
  let identifier: [UInt8] = [0xF3, 0xAC, 0xD3, 0x11, 0x8C, 0xD1, 0, 0xC0, 0x4F, 0x8E, 0xDB, 0x8A]
  return Array(name.utf8) + identifier + bytes(size ?? UInt64(body.count + 24)) + body
    + [UInt8](repeating: 0, count: (8 - body.count % 8) % 8)
}

/// A Wave64 file of the given chunks, in the order of their names backwards: `fmt `, `data`.
func wave64(_ chunks: [String: [UInt8]], kind: String = "wave") -> [UInt8] {
  let body = chunks.sorted { $0.key > $1.key }.flatMap { wave64Chunk($0.key, $0.value) }
  return Array("riff".utf8) + [0x2E, 0x91, 0xCF, 0x11, 0xA5, 0xD6, 0x28, 0xDB, 4, 0xC1, 0, 0]
    + bytes(UInt64(40 + body.count)) + wave64Chunk(kind, []).prefix(16) + body
}

/// The one-line error that `body` throws, or nil.
func toeplitzError(_ body: () throws -> Void) -> ToeplitzError? {
  do {
    try body()
    Issue.record("no error")
  } catch let error as ToeplitzError {
    #expect(!error.description.contains("\n"))
    return error
  } catch {
    Issue.record("not a ToeplitzError: \(error)")
  }
  return nil
}

/// Evenly distributed numbers in −1..<1.
func noise(_ count: Int, seed: UInt64) -> [Float] {
  var random = RandomSource(seed: seed)
  return (0..<count).map { _ in Float(random.nextUnit() * 2 - 1) }
}

func sine(_ frequency: Double, rate: Int, count: Int, phase: Double = 0.3) -> [Float] {
  (0..<count).map { Float(sin(2 * .pi * frequency * Double($0) / Double(rate) + phase)) }
}

func decibels(_ power: Double) -> Double { 10 * log10(max(power, 1e-30)) }

func power<S: Sequence>(_ values: S) -> Double where S.Element: BinaryFloatingPoint {
  var sum = 0.0
  var count = 0
  for value in values {
    sum += Double(value) * Double(value)
    count += 1
  }
  return sum / Double(max(count, 1))
}
