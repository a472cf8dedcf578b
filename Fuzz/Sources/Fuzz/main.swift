// Feeds mutated bytes to one of the parsers under libFuzzer and the address sanitizer; see run.sh.

import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels
import ToeplitzONNX

@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
  _ count: UnsafeMutablePointer<Int32>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
  _ body: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// The parser under test, by the file extension it reads.
private let parser = ProcessInfo.processInfo.environment["PARSER"] ?? "onnx"
/// In memory where there is such a place: a file system would take longer than the parser.
private let folder = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
private let path = "\(folder)/fuzz-\(getpid()).\(parser)"

/// Parses one input; typed errors are what bad input should give.
nonisolated private func one(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
  let data = [UInt8](UnsafeBufferPointer(start: bytes, count: count))
  do {
    if parser == "onnx" {
      let model = try Executable(onnx: data)
      let inputs = try model.inputs.reduce(into: [String: Tensor]()) { inputs, port in
        let sizes = (port.dimensions ?? []).map { if case .fixed(let size) = $0 { min(size, 6) } else { 3 } }
        guard sizes.count < 8 else { return }
        inputs[port.name] = try Tensor.full(TensorShape(sizes), 1, dtype: port.dtype ?? .float32)
      }
      _ = try model.run(inputs)
      return 0
    }
    guard let file = fopen(path, "wb") else { return 0 }
    fwrite(data, 1, data.count, file)
    fclose(file)
    switch parser {
    case "npy": _ = try NumPy.read(contentsOf: path)
    case "wav", "w64", "flac": _ = try AudioFile(path: path).readMono()
    case "png", "jpg", "bmp", "ppm": _ = try Picture(contentsOf: path)
    // safetensors, npz and pt.
    default: _ = try Checkpoint(contentsOf: path)
    }
  } catch is ToeplitzError {
    return 0
  } catch {
    fatalError("an error of another type: \(error)")
  }
  return 0
}

var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(withUnsafeMutablePointer(to: &arguments) { runDriver(&count, $0, { one($0, $1) }) })
