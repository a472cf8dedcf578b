import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

/// Layers print themselves as PyTorch's do, in Python's spelling: `kernel_size=(3,)`, `bias=False`, `1e-05`.
///
/// Two differences remain. Options that are real numbers are always printed as such (`min_val=-2.0`, where PyTorch
/// prints the `-2` it was given), and a layer with weight norm prints like one without, since Toeplitz has no
/// parametrization modules.
@Suite struct LayerDescriptionTests {
  private static let ours: [String: @Sendable () throws -> Module] = [
    "nn.Linear(4, 3)": { try Linear(inFeatures: 4, outFeatures: 3) },
    "nn.Linear(4, 3, bias=False)": { try Linear(inFeatures: 4, outFeatures: 3, bias: false) },
    "nn.Conv1d(3, 8, 5)": { try Conv1d(inChannels: 3, outChannels: 8, kernelSize: 5) },
    "nn.Conv1d(4, 8, 4, stride=2, padding=3, dilation=2, groups=2, bias=False, padding_mode='reflect')": {
      try Conv1d(
        inChannels: 4, outChannels: 8, kernelSize: 4, stride: 2, padding: 3, dilation: 2, groups: 2,
        bias: false,
        paddingMode: .reflect)
    },
    "nn.Conv1d(3, 8, 4, padding='same')": {
      try Conv1d(inChannels: 3, outChannels: 8, kernelSize: 4, padding: .same)
    },
    "nn.Conv2d(3, 8, (3, 5), stride=(2, 1), padding=(1, 0))": {
      try Conv2d(inChannels: 3, outChannels: 8, kernelSize: [3, 5], stride: [2, 1], padding: [1, 0])
    },
    "nn.Conv3d(1, 2, 3)": { try Conv3d(inChannels: 1, outChannels: 2, kernelSize: 3) },
    "nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4)": {
      try ConvTranspose1d(inChannels: 8, outChannels: 4, kernelSize: 16, stride: 8, padding: 4)
    },
    "nn.ConvTranspose1d(8, 4, 5, stride=3, padding=1, output_padding=2, groups=4, dilation=2, bias=False)": {
      try ConvTranspose1d(
        inChannels: 8, outChannels: 4, kernelSize: 5, stride: 3, padding: 1, outputPadding: 2, dilation: 2,
        groups: 4, bias: false)
    },
    "nn.ConvTranspose2d(3, 2, (3, 4), stride=2)": {
      try ConvTranspose2d(inChannels: 3, outChannels: 2, kernelSize: [3, 4], stride: 2)
    },
    "nn.BatchNorm1d(5)": { try BatchNorm1d(numFeatures: 5) },
    "nn.BatchNorm2d(5, eps=0.001, momentum=None, affine=False)": {
      try BatchNorm2d(numFeatures: 5, eps: 0.001, momentum: nil, affine: false)
    },
    "nn.InstanceNorm1d(5, affine=True)": { try InstanceNorm1d(numFeatures: 5, affine: true) },
    "nn.GroupNorm(2, 6)": { try GroupNorm(numGroups: 2, numChannels: 6) },
    "nn.LayerNorm(7)": { try LayerNorm(normalizedShape: [7]) },
    "nn.LayerNorm((3, 5), elementwise_affine=False)": {
      try LayerNorm(normalizedShape: [3, 5], elementwiseAffine: false)
    },
    "nn.ReLU()": { ReLU() },
    "nn.ReLU6()": { ReLU6() },
    "nn.LeakyReLU(0.1)": { LeakyReLU(negativeSlope: 0.1) },
    "nn.PReLU(3)": { try PReLU(numParameters: 3) },
    "nn.ELU(alpha=0.5)": { ELU(alpha: 0.5) },
    "nn.CELU()": { try CELU() },
    "nn.SELU()": { SELU() },
    "nn.GELU()": { GELU() },
    "nn.GELU(approximate='tanh')": { GELU(approximate: .tanh) },
    "nn.SiLU()": { SiLU() },
    "nn.Hardtanh(-2, 2)": { try Hardtanh(minVal: -2, maxVal: 2) },
    "nn.Softplus(2.0)": { try Softplus(beta: 2) },
    "nn.Softmax(dim=-1)": { Softmax(dim: -1) },
    "nn.GLU(1)": { GLU(dim: 1) },
    "nn.MaxPool1d(3, stride=2, padding=1)": { try MaxPool1d(kernelSize: 3, stride: 2, padding: 1) },
    "nn.MaxPool2d((3, 2), dilation=2, ceil_mode=True)": {
      try MaxPool2d(kernelSize: [3, 2], dilation: 2, ceilMode: true)
    },
    "nn.AvgPool1d(3, stride=2)": { try AvgPool1d(kernelSize: 3, stride: 2) },
    "nn.AvgPool2d((3, 2), padding=1)": { try AvgPool2d(kernelSize: [3, 2], padding: 1) },
    "nn.AdaptiveAvgPool1d(4)": { try AdaptiveAvgPool1d(outputSize: 4) },
    "nn.AdaptiveAvgPool2d((None, 3))": { try AdaptiveAvgPool2d(outputSize: [nil, 3]) },
    "nn.AdaptiveMaxPool1d(4)": { try AdaptiveMaxPool1d(outputSize: 4) },
    "nn.Upsample(scale_factor=2.0)": { try Upsample(scaleFactor: 2) },
    "nn.Upsample(size=(5, 6), mode='bilinear')": { try Upsample(size: [5, 6], mode: .bilinear) },
    "nn.ConstantPad1d((1, 2), 0.5)": { try ConstantPad1d(padding: [1, 2], value: 0.5) },
    "nn.ZeroPad2d(1)": { try ZeroPad2d(padding: 1) },
    "nn.ReflectionPad1d((3, 4))": { try ReflectionPad1d(padding: [3, 4]) },
    "nn.ReplicationPad2d((1, 2, 3, 4))": { try ReplicationPad2d(padding: [1, 2, 3, 4]) },
    "nn.CircularPad1d(2)": { try CircularPad1d(padding: 2) },
    "nn.Dropout(0.1)": { try Dropout(p: 0.1) },
    "nn.Flatten()": { Flatten() },
    "nn.Unflatten(1, (3, 4))": { try Unflatten(dim: 1, unflattenedSize: [3, 4]) },
    "nn.Embedding(7, 5, padding_idx=2)": { try Embedding(numEmbeddings: 7, embeddingDim: 5, paddingIdx: 2) },
    "nn.PixelShuffle(2)": { try PixelShuffle(upscaleFactor: 2) },
    "nn.PixelUnshuffle(2)": { try PixelUnshuffle(downscaleFactor: 2) },
    "nn.Identity()": { Identity() },
    "nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(8, 2)))": {
      try Sequential(
        Conv1d(inChannels: 1, outChannels: 4, kernelSize: 3), ReLU(),
        Sequential(Flatten(), Linear(inFeatures: 8, outFeatures: 2)))
    },
    "nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])": { ModuleList<Module>([ReLU(), ReLU(), Tanh()]) },
  ]

  /// What PyTorch has and Toeplitz has not.
  private static let missing: Set = [
    "nn.ModuleDict({'a': nn.ReLU(), 'b': nn.Linear(2, 3)})",
    "nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))",
  ]

  @Test func printsAsPyTorch() throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("layers/extra_repr.json")))
    let modules = try #require(JSONDecoder().decode(GoldenValue.self, from: data)["modules"].array)
    for module in modules {
      let constructor = try #require(module["constructor"].string)
      guard !Self.missing.contains(constructor) else { continue }
      let make = try #require(Self.ours[constructor], "\(constructor)")
      let expected = try #require(module["repr"].string).replacingOccurrences(
        of: "min_val=-2, max_val=2", with: "min_val=-2.0, max_val=2.0")
      #expect(try make().description == expected)
    }
    #expect(modules.count == Self.ours.count + Self.missing.count)
  }

  @Test func weightNormDoesNotShow() throws {
    let linear = try Linear(inFeatures: 4, outFeatures: 3).weightNorm()
    #expect(linear.description == "Linear(in_features=4, out_features=3, bias=True)")
  }
}
