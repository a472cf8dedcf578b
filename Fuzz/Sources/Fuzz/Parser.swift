import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels
import ToeplitzONNX
import ToeplitzTraining

/// A parser under test, and where the files lie that it reads.
struct Parser: Sendable {
  private let name: String
  private let folder: String
  private let path: String

  /// - Parameter name: one of the parsers of run.sh, mostly the extension of the files.
  init(_ name: String) throws {
    self.name = name
    // In memory where there is such a place: a file system would take longer than the parser.
    let place = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    folder = "\(place)/fuzz-\(getpid())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    // Training looks for this name.
    path = name == "training" ? "\(folder)/checkpoint-00000001.safetensors" : "\(folder)/file.\(name)"
  }

  /// Parses one input.
  func parse(_ data: [UInt8]) throws {
    switch name {
    case "onnx": try run(Executable(onnx: data))
    case "regex": try match(data)
    case "einsum": try contract(data)
    default:
      guard let file = fopen(path, "wb") else { return }
      fwrite(data, 1, data.count, file)
      fclose(file)
      try read()
    }
  }

  private func read() throws {
    switch name {
    case "npy": _ = try NumPy.read(contentsOf: path)
    case "strings": _ = try NumPy.readStrings(contentsOf: path)
    case "wav", "flac": _ = try AudioFile(path: path).readMono()
    case "png", "jpg", "bmp", "ppm": _ = try Picture(contentsOf: path)
    case "idx": _ = try IDXFile.read(contentsOf: path)
    case "json": _ = try HiFiGANConfiguration(contentsOf: path)
    case "value": try readValues()
    case "quantize":
      let model = try Executable(contentsOf: path)
      let samples = try inputs(of: model).compactMapValues(\.tensor)
      let result = try ONNXQuantizer.quantize(contentsOf: path, samples: [samples])
      _ = try Executable(onnx: result.model)
    case "training":
      let model = try Linear(2, 1)
      _ = try RunFolder(folder).restore(model: model, optimizer: Optimizer(AdamW()), settings: [:])
    // safetensors, npz and pt.
    default:
      let checkpoint = try Checkpoint(contentsOf: path)
      for name in checkpoint.names { _ = try checkpoint.tensor(name) }
    }
  }

  private func readValues() throws {
    var port = PortDescription(name: "x")
    for kind in [PortDescription.Kind.tensor, .sequence, .optional] {
      port.kind = kind
      do { _ = try ONNXTensorFile.value(contentsOf: path, for: port) } catch is ToeplitzError {}
    }
  }

  // MARK: Models

  private func run(_ model: Executable) throws { _ = try model.run(values: inputs(of: model)) }

  private func inputs(of model: Executable) throws -> [String: ModelValue] {
    try model.inputs.reduce(into: [:]) { inputs, port in
      let sizes = (port.dimensions ?? []).map { if case .fixed(let size) = $0 { min(size, 6) } else { 3 } }
      guard sizes.count < 8 else { return }
      if port.kind == .strings {
        let words = ["Hello World", "", "a,b", "日本語 ß", "3.5"]
        let count = sizes.reduce(1, *)
        guard count < 1000 else { return }
        let elements = (0..<count).map { words[$0 % words.count] }
        inputs[port.name] = .strings(try StringTensor(elements, shape: .init(sizes)))
        return
      }
      let tensor = try Tensor.full(.init(sizes), 1, dtype: port.dtype ?? .float32)
      inputs[port.name] = port.kind == .sequence ? .sequence([tensor, tensor]) : .tensor(tensor)
    }
  }

  /// A pattern up to the first newline, then what it is to match.
  private func match(_ data: [UInt8]) throws {
    let parts = data.split(separator: 10, maxSplits: 1, omittingEmptySubsequences: false)
    let model = try Executable(
      onnx: SmallModel.bytes(
        "RegexFullMatch", attribute: ("pattern", Array(parts[0])), inputs: [("x", 8, 1)], output: 9))
    let text = String(decoding: parts.count > 1 ? parts[1] : [], as: UTF8.self)
    _ = try model.run(values: ["x": .strings(try StringTensor([text]))])
  }

  /// The ranks of two tensors, then the equation.
  private func contract(_ data: [UInt8]) throws {
    guard let first = data.first else { return }
    let ranks = [Int(first & 3), Int(first >> 2 & 3)]
    let names = ["x", "y"]
    let model = try Executable(
      onnx: SmallModel.bytes(
        "Einsum", attribute: ("equation", Array(data.dropFirst())),
        inputs: zip(names, ranks).map { ($0, 1, $1) }, output: 1))
    let tensors = try zip(names, ranks).map { ($0, try Tensor.ones(.init(Array(repeating: 2, count: $1)))) }
    _ = try model.run(Dictionary(uniqueKeysWithValues: tensors))
  }
}
