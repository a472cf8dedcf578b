import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

/// The code of a user who knows PyTorch, written without looking anything up.
private final class Block: Module, UnaryLayer {
  let conv1, conv2: Conv1d
  let skip: Conv1d?
  init(_ c: Int, kernel k: Int, dilation d: Int = 1) throws {
    conv1 = try Conv1d(c, 2 * c, kernelSize: k, padding: d * (k - 1) / 2, dilation: d)
    conv2 = try Conv1d(2 * c, c, kernelSize: 1)
    skip = nil
    super.init()
  }
  func forward(_ x: Tensor) throws -> Tensor { try (skip?(x) ?? x) + 0.5 * conv2(relu(conv1(x))) }
}

/// A module whose initialiser has no arguments and throws, without a call of `super.init()`.
private final class Small: Module, UnaryLayer {
  let conv: Conv2d
  init() throws { conv = try Conv2d(1, 2, kernelSize: [3, 1], padding: [1, 1, 0, 0]) }
  func forward(_ x: Tensor) throws -> Tensor { try conv(x) }
}

/// A layer of one's own.
private final class Downsample: Conv1d {
  init(_ channels: Int) throws {
    try super.init(inChannels: channels, outChannels: channels, kernelSize: 4, stride: 2, padding: 1)
  }
}

@Suite struct SurfaceTests {
  private func inFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder.path)
  }

  @Test func theModelThatPeopleWriteLoadsAndRuns() throws {
    try inFolder { folder in
      let trained = try Block(64, kernel: 7).eval()
      try Safetensors.write(trained.stateDictionary(), to: "\(folder)/block.safetensors")
      let x = try Tensor.range(to: 64 * 40).reshaped(1, 64, 40) * 0.001

      let model = try Block(64, kernel: 7).eval()
      try model.load(contentsOf: "\(folder)/block.safetensors")
      let fast = try Executable(tracing: model)
      let y = try fast(x)[0..., 0, (-16)...]

      let expected = try trained(x)
      #expect(y.shape == [1, 16])
      #expect(try y.allClose(expected[.ellipsis, 0, 24..<40], rtol: 1e-4, atol: 1e-5))
      #expect(try fast(x[.ellipsis, ..<20]).shape == [1, 64, 20])
    }
  }

  @Test func modulesDescribeThemselves() throws {
    #expect(
      try Downsample(4).displayName == "Downsample" && ReflectionPad1d(padding: 1).displayName == "ReflectionPad1d")
    #expect(try WeightNormConv2d(1, 1, kernelSize: 1).displayName == "WeightNormConv2d")
    let model = try Block(64, kernel: 7, dilation: 2)
    #expect(
      model.description.contains(
        "(conv1): Conv1d(64, 128, kernel_size=(7,), stride=(1,), padding=(6,), dilation=(2,))"), "\(model)")
    #expect(try model.summary(inputShape: [1, 64, 100]).multiplyAdds == 64 * 128 * (7 + 1) * 100)
  }

  @Test func modulesOfSeveralInputsAppearInSummariesAndErrors() throws {
    final class Modulated: Module {
      let conv: Conv1d
      init() throws { conv = try Conv1d(2, 2, kernelSize: 3, padding: 1) }
      func callAsFunction(_ x: Tensor, scale: Tensor) throws -> Tensor { try recordCall(x) { try conv(x) * scale } }
    }
    final class Net: Module, UnaryLayer {
      let inner: Modulated
      init() throws { inner = try Modulated() }
      func forward(_ x: Tensor) throws -> Tensor { try inner(x, scale: Tensor.ones([x.shape[2]])) }
    }
    let net = try Net()
    #expect(try net.summary(inputShape: [1, 2, 8]).rows.map(\.path) == ["inner.conv", "inner", ""])
    let error = #expect(throws: ToeplitzError.self) { try net(Tensor.ones([1, 3, 8])) }
    #expect(error?.path == "inner.conv")
    let graph = try net.compiled().graph(for: [TensorSpec([1, 2, 8], .float32)])
    #expect(graph.description.contains("input x: float32[1, 2, 8]"), "\(graph)")
    #expect(graph.description.contains("inner.conv: Conv1d -> float32[1, 2, 8]"), "\(graph)")
  }

  @Test func initializersTakeIntsAndArraysFromVariables() throws {
    let (k, stride, sizes) = (3, 2, [3, 5])
    #expect(try Small()(Tensor.ones([1, 1, 4, 4])).shape == [1, 2, 4, 4])
    #expect(try Downsample(4)(Tensor.ones([1, 4, 10])).shape == [1, 4, 5])
    #expect(try Conv2d(1, 1, kernelSize: sizes, stride: stride, padding: k / 2).padding == .uniform(1))
    #expect(try Conv1d(1, 1, kernelSize: k, padding: [2, 0])(Tensor.ones([1, 1, 6])).shape == [1, 1, 6])
    #expect(try Conv1d(1, 1, kernelSize: k, padding: .causal).geometry.paddingLow == [2])
    #expect(try Conv1d(1, 1, kernelSize: k, padding: .asymmetric([(low: 2, high: 0)])).geometry.paddingLow == [2])
    #expect(
      try Conv2d(1, 1, kernelSize: 3, padding: [1, 2, 3, 4])(Tensor.ones([1, 1, 8, 8])).shape == [1, 1, 9, 13])
    #expect(
      try MaxPool2d(kernelSize: k, stride: stride, padding: k / 2)(Tensor.ones([1, 1, 8, 8])).shape == [1, 1, 4, 4])
    #expect(try ReflectionPad1d(padding: k)(Tensor.ones([1, 1, 8])).shape == [1, 1, 14])
    #expect(try Upsample(scaleFactor: stride)(Tensor.ones([1, 1, 8])).shape == [1, 1, 16])
    #expect(try AdaptiveAvgPool2d(outputSize: sizes)(Tensor.ones([1, 1, 8, 8])).shape == [1, 1, 3, 5])
    #expect(
      try convTranspose1d(Tensor.ones([1, 2, 5]), Tensor.ones([2, 3, k]), stride: stride, padding: k / 2).shape
        == [1, 3, 9])
    let dimensions = [2, 3]
    #expect(try Tensor.zeros(dimensions).reshaped([3, 2]).shape == [3, 2])
  }

  @Test func optionsOfMAXForMoreAxesAreRefusedWithTheEquivalent() {
    func message(_ body: () throws -> some Any) -> String {
      do { _ = try body() } catch { return "\(error)" }
      return ""
    }
    #expect(message { try Conv1d(1, 1, kernelSize: 3, stride: [1, 2]) }.hasSuffix("got [1, 2]; write 2"))
    #expect(message { try Conv1d(1, 1, kernelSize: 3, padding: [0, 0, 2, 1]) }.hasSuffix("; write [2, 1]"))
    #expect(
      message { try Conv2d(1, 1, kernelSize: 3, padding: [1, 2, 3]) }.contains("2 (one for each spatial axis) or 4"))
  }

  @Test func optionsAreProperties() throws {
    let conv = try Conv1d(4, 6, kernelSize: 3, stride: 2, padding: 1, dilation: 2, groups: 2, bias: false, name: "c")
    #expect(conv.inChannels == 4 && conv.outChannels == 6 && conv.kernelSize == [3] && conv.stride == [2])
    #expect(conv.padding == 1 && conv.dilation == [2] && conv.groups == 2 && conv.name == "c" && conv.bias == nil)
    #expect(Array(conv.stateDictionary().keys) == ["c.weight"])
  }
}
