import Foundation
import Testing
import ToeplitzGraph
import ToeplitzNN
import ToeplitzONNX
import ToeplitzTensor
import ToeplitzTestSupport

/// Static quantisation of models.
@Suite struct QuantizerTests {
  private let residual = Fixtures.path("onnx/residual.onnx")

  private func samples(_ count: Int) throws -> [[String: Tensor]] {
    var random = RandomSource(seed: 5)
    return try (0..<count).map { _ in
      ["x": try Tensor.randomUniform([1, 3, 9, 11], from: -1, to: 1, using: &random)]
    }
  }

  @Test(arguments: [QuantizationOptions.Calibration.minMax, .percentile(99.99)])
  func quantizedModelsAreCloseAndSmaller(_ calibration: QuantizationOptions.Calibration) throws {
    let inputs = try samples(6)
    var options = QuantizationOptions()
    options.calibration = calibration
    let (bytes, report) = try ONNXQuantizer.quantize(contentsOf: residual, samples: inputs, options: options)
    let (model, original) = (try Executable(onnx: bytes), try Executable(contentsOf: residual))
    // Names and open sizes stay.
    #expect(model.inputs.map(\.description) == original.inputs.map(\.description))
    let (got, exact) = (try model.run(inputs[0])[0], try original.run(inputs[0])[0])
    let bound = calibration == .minMax ? 0.05 : 0.2
    #expect(got.shape == exact.shape)
    #expect(report.outputErrors[0].error < bound && report.outputErrors[0].error > 0)
    #expect(try got.distance(to: exact).absolute < bound * Double(exact.abs().max().item(Float.self)))
    // Every convolution is a layer, its batch norm folded, and computes with codes.
    #expect(report.layers.count == 4 && report.layers.allSatisfy { $0.operation == "Conv" && $0.ownError < bound })
    let names = try model.executedGraph(inputs[0]).nodes.map(\.operation.name)
    #expect(names.filter { $0 == "QuantizedConv2d" }.count == 4, "\(names)")
    // Errors add up along the network.
    #expect(report.layers.allSatisfy { $0.totalError >= 0.5 * $0.ownError })
  }

  @Test func layersStayInFloatWhereAsked() throws {
    var options = QuantizationOptions()
    options.keptInFloat = ["Conv"]
    #expect(throws: ToeplitzError.self) {
      try ONNXQuantizer.quantize(contentsOf: residual, samples: samples(1), options: options)
    }
    let all = try ONNXQuantizer.quantize(contentsOf: residual, samples: samples(1)).report
    options.keptInFloat = [all.layers[1].name]
    let some = try ONNXQuantizer.quantize(contentsOf: residual, samples: samples(1), options: options).report
    #expect(some.layers.map(\.name) == all.layers.map(\.name).enumerated().filter { $0.offset != 1 }.map(\.element))
  }

  /// A weight of zeros, an output that never changes and a bias far larger than its products.
  @Test func degenerateLayersAreExact() throws {
    let conv = try Conv1d(inChannels: 2, outChannels: 3, kernelSize: 1)
    try conv.load([
      "weight": Tensor([0, 0, 1e-30, -1e-30, 0.5, 0.25] as [Float], shape: [3, 2, 1]),
      "bias": Tensor([0, 1000, -1] as [Float]),
    ])
    let x = try Tensor([1, -1, 0.5, 2, 0, 1] as [Float], shape: [1, 2, 3])
    let path = FileManager.default.temporaryDirectory.appending(path: "degenerate-\(UUID().uuidString).onnx").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try conv.eval().exportONNX(to: path, input: x)
    let (bytes, report) = try ONNXQuantizer.quantize(contentsOf: path, samples: [["x": x]])
    let got = try Executable(onnx: bytes).run(["x": x])[0]
    #expect(try got.distance(to: conv(x)).absolute < 5)
    #expect(report.outputErrors[0].error < 0.01)
  }

  @Test func badArgumentsAreRefused() throws {
    func refused(_ samples: [[String: Tensor]], _ options: QuantizationOptions = QuantizationOptions()) -> Bool {
      do {
        _ = try ONNXQuantizer.quantize(contentsOf: residual, samples: samples, options: options)
        return false
      } catch { return error is ToeplitzError }
    }
    var options = QuantizationOptions()
    options.calibration = .percentile(30)
    #expect(refused([]))
    #expect(try refused(samples(1), options))
    #expect(try refused([["x": Tensor.zeros([1, 4, 9, 11])]]))
    #expect(try refused([["x": Tensor.full([1, 3, 9, 11], .nan)]]))
    let quantized = try ONNXQuantizer.quantize(contentsOf: residual, samples: samples(1)).model
    let path = FileManager.default.temporaryDirectory.appending(path: "twice-\(UUID().uuidString).onnx").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(quantized).write(to: URL(fileURLWithPath: path))
    #expect(throws: ToeplitzError.self) { try ONNXQuantizer.quantize(contentsOf: path, samples: samples(1)) }
  }
}
