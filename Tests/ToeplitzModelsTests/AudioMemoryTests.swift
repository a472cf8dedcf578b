import Foundation
import Testing
import Toeplitz
import ToeplitzModels
import ToeplitzTestSupport

/// Sound that comes from memory and goes there.
@Suite struct AudioMemoryTests {
  private let samples = (0..<1000).map { Float(($0 * 37) % 201 - 100) / 128 }

  @Test(arguments: WAVWriter.Encoding.allCases)
  func bytesAreThoseOfTheFile(_ encoding: WAVWriter.Encoding) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "a.wav").path
    try WAVWriter.write(samples, to: path, sampleRate: 8000, encoding: encoding)
    let bytes = try WAVWriter.bytes(samples, sampleRate: 8000, encoding: encoding)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(bytes))

    let file = try AudioFile(bytes: bytes, name: "call 7")
    #expect(file.path == "call 7" && file.sampleRate == 8000 && file.frameCount == 1000)
    #expect(try file.readMono() == samples)
    #expect(try AudioFile(bytes: Data(bytes)).readMono(frames: 3..<9) == Array(samples[3..<9]))
    #expect(try AudioFile(bytes: ([7] + bytes)[1...]).readMono() == samples)
  }

  @Test func channelsKeepTheirPlaces() throws {
    let two = [samples, samples.map { -$0 }]
    let bytes = try WAVWriter.bytes(planar: two, sampleRate: 16_000, encoding: .float32)
    #expect(try AudioFile(bytes: bytes).read() == two)
  }

  @Test func whatIsNoSoundIsRefused() throws {
    let empty = #expect(throws: ToeplitzError.self) { _ = try AudioFile(bytes: [UInt8](), name: "upload") }
    #expect(empty?.operation == "upload")
    #expect(throws: ToeplitzError.self) { _ = try AudioFile(bytes: Array("RIFF".utf8)) }
    #expect(throws: ToeplitzError.self) { _ = try WAVWriter.bytes([.nan], sampleRate: 8000) }
    #expect(throws: ToeplitzError.self) { _ = try WAVWriter.bytes([0], sampleRate: 0) }
    #expect(throws: ToeplitzError.self) { _ = try WAVWriter.bytes(planar: [[0], []], sampleRate: 8000) }
    #expect(throws: ToeplitzError.self) { _ = try WAVWriter.bytes(planar: [], sampleRate: 8000) }
  }

  @Test func buffersOfSamplesBecomeTensors() throws {
    let frames: [Int16] = [0, -32768, 16384, 32767, -1, 1]
    let stereo = try Tensor(pcm16: frames, channelCount: 2)
    #expect(stereo.shape == [2, 3])
    #expect(try stereo.scalars(of: Float.self) == [0, 0.5, -1 / 32768, -1, 32767 / 32768, 1 / 32768])
    #expect(try stereo.pcm16() == frames && stereo.unsqueezed(0).pcm16() == frames)
    #expect(try Tensor([2, -2, 0.25, .nan] as [Float]).pcm16() == [32767, -32768, 8192, 0])
    #expect(try Tensor(pcm: [1, 2, 3, 4] as [Float], channelCount: 2).pcm() == [1, 2, 3, 4])
    #expect(throws: ToeplitzError.self) { _ = try Tensor(pcm16: frames, channelCount: 4) }
    #expect(throws: ToeplitzError.self) { _ = try Tensor(pcm16: frames, channelCount: 0) }
    #expect(throws: ToeplitzError.self) { _ = try Tensor.zeros([2, 2, 2]).pcm() }
    #expect(throws: ToeplitzError.self) { _ = try Tensor.zeros([2], dtype: .int32).pcm16() }
  }
}
