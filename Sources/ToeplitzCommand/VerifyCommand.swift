import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX

/// `toeplitz verify`: runs models that come with recorded inputs and outputs.
struct VerifyCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare ONNX models with the inputs and outputs recorded for them.",
    discussion: """
      Each folder in FOLDER is a test as the ONNX project stores them: model.onnx and folders test_data_set_… with \
      input_N.pb and output_N.pb. Prints a line for each test: passed, failed or unsupported, and why.
      """)

  @Argument(help: "A folder of tests, or a single test.")
  var folder: String

  @Option(help: "How far results may be off, relative to their size.")
  var rtol = 1e-3

  @Option(help: "How far results may be off besides.")
  var atol = 1e-7

  @Flag(help: "Run the operations as they stand in the file, without fusing any.")
  var plain = false

  @Flag(help: "Print only what did not pass, and the counts.")
  var brief = false

  func execute() throws {
    let manager = FileManager.default
    let isSingle = manager.fileExists(atPath: folder + "/model.onnx")
    let tests = (isSingle ? [folder] : try Folder.names(in: folder).map { "\(folder)/\($0)" })
      .filter { manager.fileExists(atPath: $0 + "/model.onnx") }
    guard !tests.isEmpty else {
      throw ToeplitzError(
        .file, folder, expected: "model.onnx, or folders that hold one", got: "neither")
    }
    var counts = ["passed": 0, "failed": 0, "unsupported": 0]
    for test in tests {
      let name = (test as NSString).lastPathComponent
      var (result, reason) = ("passed", "")
      do {
        try check(test)
      } catch let error as ToeplitzError {
        result = error.kind == .unsupported ? "unsupported" : "failed"
        reason = ": \(error.description.replacing("\n", with: " "))"
      }
      counts[result, default: 0] += 1
      if !brief || result != "passed" { print("\(result) \(name)\(reason)") }
    }
    print("passed \(counts["passed"] ?? 0), failed \(counts["failed"] ?? 0), unsupported \(counts["unsupported"] ?? 0)")
    guard counts["failed"] == 0 else {
      throw ToeplitzError(.argument, "verify", expected: "no test that fails", got: "\(counts["failed"] ?? 0)")
    }
  }

  /// Runs one test on all its data.
  private func check(_ test: String) throws {
    let executable = try Executable(contentsOf: test + "/model.onnx", optimizes: !plain)
    let sets = try Folder.names(in: test).filter { $0.hasPrefix("test_data_set") }
    guard !sets.isEmpty else {
      throw ToeplitzError(.file, test, expected: "folders test_data_set_…", got: "none")
    }
    for set in sets {
      let inputs = try values("\(test)/\(set)", "input", executable.inputs)
      let wanted = try values("\(test)/\(set)", "output", executable.outputs)
      let named = Dictionary(zip(executable.inputs.map(\.name), inputs)) { $1 }
      let results = try executable.run(values: named)
      for (port, (got, expected)) in zip(executable.outputs, zip(results, wanted)) {
        try compare(got, expected, port.name)
      }
    }
  }

  private func values(_ folder: String, _ kind: String, _ ports: [PortDescription]) throws -> [ModelValue] {
    try ports.enumerated().map { index, port in
      try ONNXTensorFile.value(contentsOf: "\(folder)/\(kind)_\(index).pb", for: port)
    }
  }

  private func compare(_ got: ModelValue, _ expected: ModelValue, _ name: String) throws {
    let isSame: Bool
    switch (got, expected) {
    case (.tensor(let got), .tensor(let expected)): return try compare(got, expected, name)
    case (.sequence(let got), .sequence(let expected)):
      isSame = got.count == expected.count
      if isSame { for (got, expected) in zip(got, expected) { try compare(got, expected, name) } }
    case (.strings(let got), .strings(let expected)): isSame = got == expected
    case (.none, .none): isSame = true
    default: isSame = false
    }
    guard isSame else {
      throw ToeplitzError(.argument, "output '\(name)'", expected: expected.description, got: got.description)
    }
  }

  private func compare(_ got: Tensor, _ expected: Tensor, _ name: String) throws {
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.argument, "output '\(name)'", expected: expected, got: got)
    }
    guard got.spec == expected.spec else { throw refuse("\(expected.spec)", "\(got.spec)") }
    func numbers<T: TensorScalar>(_ tensor: Tensor, _ type: T.Type) throws -> [Double] {
      try tensor.scalars(type).map(\.doubleValue)
    }
    let (a, b) = (try numbers(got, got.dtype.scalarType), try numbers(expected, got.dtype.scalarType))
    // Recorded numbers carry the rounding of their element type, on the scale of the largest.
    let rounding: [DType: Double] = [.float32: 0x1p-23, .float64: 0x1p-52, .float16: 0x1p-10, .bfloat16: 0x1p-7]
    let slack = atol + (rounding[got.dtype] ?? 0) * (b.lazy.filter(\.isFinite).map(abs).max() ?? 0)
    for (index, (x, y)) in zip(a, b).enumerated() {
      let isClose = x == y || x.isNaN && y.isNaN || abs(x - y) <= slack + rtol * abs(y)
      guard isClose else { throw refuse("\(y) at \(index) of \(got.spec)", "\(x)") }
    }
  }
}
