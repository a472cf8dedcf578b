import Foundation
import Testing
import ToeplitzCheckpoint
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzGraph
@testable import ToeplitzONNX
@testable import ToeplitzOps

/// The ONNX form of every operation of the catalogue, run by Toeplitz and, where it is installed, by ONNX Runtime.
@Suite struct OperationFormTests {
  /// An operation alone as a model; nil where ONNX cannot say it.
  private func model(_ sample: OperationSample) throws -> [UInt8]? {
    guard sample.operation is any ExportableOperation else { return nil }
    let outputs = try sample.operation.infer(sample.inputs.map(\.spec))
    nonisolated(unsafe) let source = FunctionSource(
      inputs: sample.inputs.indices.map { PortDescription(name: "x\($0)") },
      outputs: outputs.indices.map { "y\($0)" }
    ) { operands, _ in try applyAll(sample.operation, operands) }
    let graph = try Executable(source, name: "operation").graph(for: sample.inputs.map(\.spec))
    do {
      return try graph.onnxModel()
    } catch let error as ToeplitzError where error.kind == .unsupported {
      return nil
    }
  }

  /// The samples that ONNX can say, as models with results.
  private func cases() throws -> [(sample: OperationSample, model: [UInt8], results: [Tensor])] {
    try OperationCatalog.samples().compactMap { sample in
      try model(sample).map { (sample, $0, try applyAll(sample.operation, sample.inputs)) }
    }
  }

  /// Names of operations that have no ONNX form for any sample.
  @Test func operationsWithoutFormAreFew() throws {
    let all = try OperationCatalog.samples()
    let said = Set(try all.filter { try model($0) != nil }.map { "\(type(of: $0.operation))" })
    let silent = Set(all.map { "\(type(of: $0.operation))" }).subtracting(said)
    #expect(
      silent == [
        // Gradients of weights and norms, numbers of a counter, windows of different sizes, and conversions that later opsets have.
        "ConvolutionWeightGradient", "ChannelProducts", "CounterUniform", "AdaptivePooling", "NarrowCast",
        "Reinterpret",
      ], "\(silent.sorted())")
  }

  @Test func formsGiveTheResultsOfTheOperations() throws {
    let cases = try cases()
    #expect(cases.count > 250)
    for (sample, model, results) in cases {
      for optimizes in [true, false] {
        let executable = try Executable(onnx: model, optimizes: optimizes)
        // Operands that the operation does not read are no inputs of a graph.
        let inputs = Dictionary(uniqueKeysWithValues: sample.inputs.enumerated().map { ("x\($0.offset)", $0.element) })
        for (got, expected) in zip(try executable.run(inputs), results) {
          #expect(got.spec == expected.spec, "\(sample)")
          let distance = try got.cast(to: .float64).distance(to: expected.cast(to: .float64))
          #expect(distance.absolute <= 1e-6 * max(1, distance.scale) && distance.sameSpecials, "\(sample): \(distance)")
        }
      }
    }
  }

  /// Whether a Python with ONNX Runtime is there.
  private static let hasRuntime: Bool = {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-c", "import onnxruntime, numpy"]
    process.standardError = FileHandle.nullDevice
    return (try? process.run()) != nil
      && {
        process.waitUntilExit(); return process.terminationStatus == 0
      }()
  }()

  /// Two implementations of the standard agree on what was written.
  @Test(.enabled(if: hasRuntime)) func runtimeGivesTheSame() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let cases = try cases()
    for (index, item) in cases.enumerated() {
      let path = folder.appending(path: "\(index)").path
      try Data(item.model).write(to: URL(filePath: path + ".onnx"))
      for (number, input) in item.sample.inputs.enumerated() { try NumPy.write(input, to: "\(path).x\(number).npy") }
    }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    let script = URL(filePath: #filePath).appending(path: "../../../Scripts/run-onnx-models.py").standardized.path
    process.arguments = ["python3", script, folder.path]
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    var compared = 0
    for (index, item) in cases.enumerated() {
      for (number, expected) in item.results.enumerated() {
        let path = folder.appending(path: "\(index).y\(number).npy").path
        // The runtime has no kernels for some element types.
        guard FileManager.default.fileExists(atPath: path) else { continue }
        let got = try NumPy.read(contentsOf: path)
        #expect(got.shape == expected.shape, "\(item.sample)")
        let distance = try got.cast(to: .float64).distance(to: expected.cast(to: .float64))
        #expect(
          distance.absolute <= 1e-5 * max(1, distance.scale) && distance.sameSpecials, "\(item.sample): \(distance)")
        compared += 1
      }
    }
    #expect(compared > 150, "\(compared)")
  }
}
