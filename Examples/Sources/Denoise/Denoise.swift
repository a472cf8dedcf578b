// A command of thirty lines: Denoise WEIGHTS.safetensors IN.wav OUT.wav runs a small network over a recording.
import ToeplitzModels

final class Denoiser: Module, UnaryLayer {
  let layers: Sequential
  init(channels c: Int) throws {
    layers = try Sequential(
      Conv1d(1, c, kernelSize: 9, padding: 4), ReLU(), Conv1d(c, c, kernelSize: 9, padding: 4), ReLU(),
      Conv1d(c, 1, kernelSize: 1))
  }
  func forward(_ x: Tensor) throws -> Tensor { try x - layers(x) }
}

@main struct Denoise {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4 else { return print("usage: Denoise WEIGHTS.safetensors IN.wav OUT.wav") }
    let model = try Denoiser(channels: 16).eval()
    try model.load(contentsOf: arguments[1])
    let denoise = try Executable(tracing: model)
    let recording = try AudioFile(path: arguments[2])
    let x = try Tensor(recording.readMono()).reshaped(1, 1, -1)
    let y = try denoise(x).scalars(of: Float.self)
    try WAVWriter.write(y, to: arguments[3], sampleRate: recording.sampleRate)
  }
}
