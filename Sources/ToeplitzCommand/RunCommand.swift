import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX

/// `toeplitz run`: computes a model on files.
struct RunCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run an ONNX model on files.",
    discussion: """
      Writes DIR/NAME.npy for each output of the model ('/' and ':' in names become '_') and prints a line for each; of a \
      sequence DIR/NAME.0.npy and so on. \
      Inputs are .npy, .npz (NAME=FILE.npz or NAME=FILE.npz:MEMBER), .wav, .png or .jpg files.
      """)

  @Argument(help: "An ONNX model.")
  var model: String

  @Option(name: .customLong("input"), help: "An input as NAME=FILE; may be repeated.")
  var inputs: [String] = []

  @Option(help: "Where to write the outputs.")
  var outputDir: String?

  @Option(name: .customLong("repeat"), help: "How often to run; the times are of the fastest run.")
  var repeats = 1

  @OptionGroup var options: ModelOptions

  @Flag(help: "Also print how long loading, the first run and each operation took, the last in as many more runs.")
  var profile = false

  @OptionGroup var images: ImageOptions

  func validate() throws {
    try options.validate()
    guard repeats >= 1 else { throw ValidationError("--repeat must be at least 1, not \(repeats)") }
    for input in inputs where !input.dropFirst().contains("=") {
      throw ValidationError("--input takes NAME=FILE, not \(input)")
    }
    try images.validate()
  }

  func execute() throws {
    let deadline = options.apply()
    let clock = ContinuousClock()
    let beginning = clock.now
    let executable = try Executable(contentsOf: model, optimizes: !options.plain)
    let loading = clock.now - beginning
    let files = Dictionary(
      inputs.map { text in
        // Names may hold equals signs; the longest name that the model has is meant.
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        let names = (1..<parts.count).map { parts[..<$0].joined(separator: "=") }
        let name =
          names.last { name in (executable.inputs + executable.defaults).contains { $0.name == name } } ?? names[0]
        return (name, String(text.dropFirst(name.count + 1)))
      }
    ) { $1 }
    // Names first: a misspelt one is found before any file is read.
    try checkNames(files, executable)
    var values: [String: ModelValue] = [:]
    for (name, file) in files {
      let port = (executable.inputs + executable.defaults).first { $0.name == name }
      values[name] = try InputFile(file).value(for: port, images)
    }
    var results: [ModelValue] = []
    var times: [Duration] = []
    for _ in 0..<repeats {
      let start = clock.now
      results = try executable.run(values: values)
      times.append(clock.now - start)
      if times.count == 1 { deadline.meet() }
    }
    try write(results, executable, (times.min() ?? .zero) / .milliseconds(1))
    guard profile else { return }
    print(String(format: "loaded in %.3f ms", loading / .milliseconds(1)))
    print(String(format: "first run in %.3f ms", (times.first ?? .zero) / .milliseconds(1)))
    for line in try ModelProfile(executable, values.compactMapValues(\.tensor), runs: repeats).lines { print(line) }
  }

  private func checkNames(_ files: [String: String], _ executable: Executable) throws {
    let known = (executable.inputs + executable.defaults).map(\.name)
    for name in files.keys.sorted() where !known.contains(name) {
      throw ToeplitzError(
        .argument, "--input", expected: known.isEmpty ? "no input" : "one of " + known.joined(separator: ", "),
        got: "'\(name)'")
    }
    let missing = executable.inputs.filter { files[$0.name] == nil }
    guard missing.isEmpty else {
      throw ToeplitzError(
        .argument, "--input",
        expected: "a file for " + missing.map { "'\($0.name)' (\($0.description))" }.joined(separator: ", "),
        got: "none")
    }
  }

  private func write(_ results: [ModelValue], _ executable: Executable, _ milliseconds: Double) throws {
    var names: [String] = []
    for port in executable.outputs {
      let name = port.name.replacing("/", with: "_").replacing(":", with: "_")
      guard !name.isEmpty, name != ".", name != "..", !names.contains(name), !name.utf8.contains(0) else {
        throw ToeplitzError(.argument, "run", expected: "outputs with names for files", got: "'\(port.name)'")
      }
      names.append(name)
    }
    if let outputDir {
      // NumPy has no type for some; nothing is written then.
      for (port, value) in zip(executable.outputs, results) {
        for tensor in value.tensors where !NumPy.canHold(tensor.dtype) {
          throw ToeplitzError(
            .dtype, "run", expected: "outputs of types that .npy files have", got: "\(tensor.dtype) ('\(port.name)')")
        }
      }
      for (name, value) in zip(names, results) {
        for tensor in value.tensors { try NumPy.check(tensor, for: "\(outputDir)/\(name).npy") }
      }
      try Folder.make(outputDir)
      for (name, value) in zip(names, results) { try value.write(to: "\(outputDir)/\(name)") }
    }
    for (port, value) in zip(executable.outputs, results) {
      print("\(port.name): \(value.description) in \(String(format: "%.3f", milliseconds)) ms")
    }
  }
}

extension ModelValue {
  /// The tensors that it is made of.
  fileprivate var tensors: [Tensor] {
    switch self {
    case .tensor(let tensor): [tensor]
    case .sequence(let tensors): tensors
    case .strings, .none: []
    }
  }

  /// Writes it to `.npy` files whose names begin so.
  fileprivate func write(to path: String) throws {
    switch self {
    case .tensor(let tensor): try NumPy.write(tensor, to: path + ".npy")
    case .strings(let strings): try NumPy.writeStrings(strings.elements, shape: strings.shape, to: path + ".npy")
    case .sequence(let list):
      for (index, tensor) in list.enumerated() { try NumPy.write(tensor, to: "\(path).\(index).npy") }
    case .none: break
    }
  }
}
