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
      Inputs are npy, npz (NAME=FILE.npz or NAME=FILE.npz:MEMBER), sound (WAV, FLAC) or pictures (PNG, JPEG, BMP, PNM), known by their first \
      bytes. '-' is standard input or output. A sequence is an npz with its tensors; optional inputs may be left out.
      """)

  @Argument(help: "An ONNX model, or - for standard input.")
  var model: String

  @Option(name: .customLong("input"), help: "An input as NAME=FILE; may be repeated.")
  var inputs: [String] = []

  @Option(help: "Where to write the outputs.")
  var outputDir: String?

  @Option(name: .customLong("repeat"), help: "How often to run; the times are of the fastest run.")
  var repeats = 1

  @OptionGroup var streaming: StreamRunOptions

  @OptionGroup var options: ModelOptions

  @Flag(help: "Also print how long loading, the first run and each operation took, the last in as many more runs.")
  var profile = false

  @OptionGroup var images: ImageOptions

  @OptionGroup var sounds: AudioOptions

  @OptionGroup var targets: OutputOptions

  func validate() throws {
    try options.validate()
    guard repeats >= 1 else { throw ValidationError("--repeat must be at least 1, not \(repeats)") }
    try streaming.validate()
    for input in inputs where !input.dropFirst().contains("=") {
      throw ValidationError("--input takes NAME=FILE, not \(input)")
    }
    try images.validate()
    try sounds.validate()
    try targets.validate()
  }

  func execute() throws {
    let model = StandardStreams.input(model)
    // Names may hold equals signs, but files of pipes hardly.
    let paths = inputs.compactMap { $0.split(separator: "=").last.map { InputFile(String($0)).path } }
    let (deadline, streams) = try options.apply(reading: [model] + paths)
    defer { withExtendedLifetime(streams) {} }
    let clock = ContinuousClock()
    let beginning = clock.now
    let executable = try Executable(contentsOf: model, optimizes: !options.plain)
    let loading = clock.now - beginning
    for warning in executable.warnings { StandardStreams.warn("\(model): \(warning)") }
    let files = pairs(inputs, executable.inputs + executable.defaults)
    let outputs = pairs(targets.outputs, executable.outputs).mapValues {
      OutputFile($0, format: targets.format, rate: targets.outputRate ?? sounds.rate)
    }
    // Names first: a misspelt one is found before any file is read.
    try checkNames(files, executable, states: streaming.pairs(executable).map(\.input))
    try checkTargets(outputs, executable)
    var values: [String: ModelValue] = [:]
    for (name, file) in files.sorted(by: { $0.key < $1.key }) {
      let port = (executable.inputs + executable.defaults).first { $0.name == name }
      values[name] = try InputFile(file).value(for: port, images, sounds)
    }
    for port in executable.inputs where port.kind == .optional && values[port.name] == nil {
      values[port.name] = ModelValue.none
    }
    var results: [ModelValue] = []
    var times: [Duration] = []
    let streamed = try StreamedRun(executable, values, streaming, rate: sounds.rate)
    let ports = executable.outputs.filter { streamed?.outputs.contains($0.name) ?? true }
    for _ in 0..<repeats {
      let start = clock.now
      if let streamed {
        results = try streamed.run().map { .tensor($0) }
        times.append(clock.now - start)
        if times.count == 1 { deadline.meet() }
        continue
      }
      results = try executable.run(values: values)
      times.append(clock.now - start)
      if times.count == 1 { deadline.meet() }
    }
    try write(results, ports, outputs, (times.min() ?? .zero) / .milliseconds(1))
    if let streamed { StandardStreams.report(streamed.summary, outputs: outputs.values.map(\.name)) }
    guard profile else { return }
    var lines = [
      String(format: "loaded in %.3f ms", loading / .milliseconds(1)),
      String(format: "first run in %.3f ms", (times.first ?? .zero) / .milliseconds(1)),
    ]
    lines += try ModelProfile(executable, values, runs: repeats).lines
    for line in lines { StandardStreams.report(line, outputs: outputs.values.map(\.name)) }
  }

  /// Files by the names of inputs or outputs.
  private func pairs(_ arguments: [String], _ ports: [PortDescription]) -> [String: String] {
    Dictionary(
      arguments.map { text in
        // Names may hold equals signs; the longest name that the model has is meant.
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        let names = (1..<parts.count).map { parts[..<$0].joined(separator: "=") }
        let name = names.last { name in ports.contains { $0.name == name } } ?? names[0]
        return (name, String(text.dropFirst(name.count + 1)))
      }
    ) { $1 }
  }

  private func checkTargets(_ outputs: [String: OutputFile], _ executable: Executable) throws {
    let known = executable.outputs.map(\.name)
    for name in outputs.keys.sorted() where !known.contains(name) {
      throw ToeplitzError(
        .argument, "--output", expected: "one of " + known.joined(separator: ", "), got: "'\(name)'")
    }
    guard outputs.values.filter({ StandardStreams.isOutput($0.name) }).count <= 1 else {
      throw ToeplitzError(.argument, "--output", expected: "one output on standard output", got: "several")
    }
  }

  private func checkNames(_ files: [String: String], _ executable: Executable, states: [String]) throws {
    let known = (executable.inputs + executable.defaults).map(\.name)
    for name in files.keys.sorted() where !known.contains(name) {
      throw ToeplitzError(
        .argument, "--input", expected: known.isEmpty ? "no input" : "one of " + known.joined(separator: ", "),
        got: "'\(name)'")
    }
    let missing = executable.inputs.filter {
      files[$0.name] == nil && $0.kind != .optional && !states.contains($0.name)
    }
    guard missing.isEmpty else {
      throw ToeplitzError(
        .argument, "--input",
        expected: "a file for " + missing.map { "'\($0.name)' (\($0.description))" }.joined(separator: ", "),
        got: "none")
    }
  }

  private func write(
    _ results: [ModelValue], _ ports: [PortDescription], _ outputs: [String: OutputFile], _ milliseconds: Double
  ) throws {
    var names: [String] = []
    for port in ports {
      let name = port.name.replacing("/", with: "_").replacing(":", with: "_")
      guard !name.isEmpty, name != ".", name != "..", !names.contains(name), !name.utf8.contains(0) else {
        throw ToeplitzError(.argument, "run", expected: "outputs with names for files", got: "'\(port.name)'")
      }
      names.append(name)
    }
    for (port, value) in zip(ports, results) {
      guard let output = outputs[port.name] else { continue }
      guard case .tensor(let tensor) = value else {
        throw ToeplitzError(
          .argument, "--output", expected: "outputs that are tensors (--output-dir writes others)",
          got: "'\(port.name)'")
      }
      try output.check(tensor)
    }
    if let outputDir {
      // NumPy has no type for some; nothing is written then.
      for (port, value) in zip(ports, results) {
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
    for (port, value) in zip(ports, results) {
      for tensor in value.tensors.prefix(1) { try outputs[port.name]?.write(tensor) }
    }
    for (port, value) in zip(ports, results) {
      StandardStreams.report(
        "\(port.name): \(value.description) in \(String(format: "%.3f", milliseconds)) ms",
        outputs: outputs.values.map(\.name))
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
