import Foundation
import ToeplitzTensor
import ToeplitzTestSupport

@testable import ToeplitzCPU
@testable import ToeplitzGraph
@testable import ToeplitzOps

/// A network as functions one after the other, each with what it is.
struct RandomNetwork: CustomStringConvertible {
  var steps: [(name: String, apply: (Tensor) throws -> Tensor)] = []
  var channels = 1
  /// What the length must be a multiple of.
  var multiple = 1
  let dtype: DType
  var description: String { steps.map(\.name).joined(separator: " → ") }

  func callAsFunction(_ x: Tensor) throws -> Tensor { try steps.reduce(x) { try $1.apply($0) } }

  func executable() -> Executable {
    let network = self
    let source = FunctionSource(
      inputs: [PortDescription(name: "x", dtype: dtype)], outputs: ["y"]
    ) { operands, _ in [try network(operands[0])] }
    nonisolated(unsafe) let sent = source
    return Executable(sent)
  }
}

extension NetworkDraw {
  /// A network that streams in blocks of fewer than 40 positions, with its plan; nil where the next one does not.
  mutating func streamed() -> (network: RandomNetwork, executable: Executable, plan: StreamPlan)? {
    guard let network = try? self.network(dtype: .float32) else { return nil }
    let executable = network.executable()
    guard let plan = try? executable.streamPlan(shape: [1, network.inputChannels, nil]), plan.blockSize < 40
    else { return nil }
    return (network, executable, plan)
  }
}

struct NetworkDraw {
  var random: RandomSource
  mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
  mutating func tensor(_ shape: TensorShape, _ dtype: DType) throws -> Tensor {
    try Tensor.randomUniform(shape, from: -1, to: 1, dtype: dtype, using: &random)
  }

  mutating func convolution(
    _ network: inout RandomNetwork, kernel: Int? = nil, stride: Int? = nil, keepsLength: Bool = false,
    transposed: Bool = false
  ) throws {
    let (inputs, outputs) = (network.channels, pick(1...4))
    let k = kernel ?? pick(1...7)
    let dilation = pick(1...3)
    let s = keepsLength ? 1 : stride ?? pick(1...3)
    let reach = (k - 1) * dilation
    var (low, high) = (pick(0...reach), 0)
    high = keepsLength ? reach - low : pick(0...reach)
    if !keepsLength, pick(0...6) == 0 { (low, high) = (-pick(0...2), -pick(0...2)) }
    let modes: [PaddingMode] = transposed || low < 0 || high < 0 ? [.zeros] : [.zeros, .zeros, .reflect, .replicate]
    let geometry = try ConvolutionGeometry(
      rank: 1, isTransposed: transposed, inChannels: inputs, outChannels: outputs, kernelSize: PerAxis([k]),
      stride: PerAxis([s]), padding: .asymmetric([(low, high)]),
      outputPadding: PerAxis([transposed ? pick(0...(max(s, dilation) - 1)) : 0]), dilation: PerAxis([dilation]),
      groups: 1, paddingMode: modes[pick(0...(modes.count - 1))])
    let (weight, bias) = (try tensor(geometry.weightShape, network.dtype), try tensor([outputs], network.dtype))
    let name =
      "\(geometry.name)(\(inputs), \(outputs), k \(k), s \(s), d \(dilation), \(low) \(high) \(geometry.paddingMode))"
    network.steps.append((name, { try $0.convolved(geometry, weight: weight, bias: bias) }))
    network.channels = outputs
  }

  /// Attention to few positions around each, which others are left out of by numbers added to scores or put in their place.
  mutating func attention(_ network: inout RandomNetwork) throws {
    let (past, future, size) = (pick(0...12), pick(0...1) * pick(0...6), pick(1...4))
    let (channels, adds) = (network.channels, pick(0...1) == 0)
    let block = pick(0...2) == 0 ? pick(2...5) : 1
    let (q, k) = (try tensor([size, channels], network.dtype), try tensor([size, channels], network.dtype))
    let v = try tensor([channels, channels], network.dtype)
    network.steps.append(
      (
        "attention \(past) \(future) in blocks of \(block)",
        { x in
          guard x.shape[2] <= 2048 else {
            throw ToeplitzError(.shape, "attention", expected: "at most 2048 positions", got: "\(x.shape[2])")
          }
          let keys = try Tensor.range(to: Double(x.shape[2]), dtype: .float64)
          let blocks = try (keys / Double(block)).floor() * Double(block)
          let distance = try keys - blocks.reshaped([x.shape[2], 1])
          let mask = try distance.greaterOrEqual(Tensor(scalar: Double(-past)))
            .logicalAnd(distance.lessOrEqual(Tensor(scalar: Double(future + block - 1))))
          let scores = try q.matmul(x).transposed(1, 2).matmul(k.matmul(x))
          let left = try Tensor.full([], -.infinity, dtype: x.dtype)
          let masked =
            try adds
            ? scores + Tensor.where(mask, Tensor.full([], 0, dtype: x.dtype), left) : Tensor.where(mask, scores, left)
          return try x + masked.softmax(axis: -1).matmul(v.matmul(x).transposed(1, 2)).transposed(1, 2)
        }
      ))
  }

  /// What compilation makes part of a convolution's weights, or one operation of several: its results round otherwise.
  mutating func constants(_ network: inout RandomNetwork) throws {
    try convolution(&network)
    let channels = network.channels
    let (one, two) = (try tensor([1, channels, 1], network.dtype), try tensor([channels], network.dtype))
    let (three, four) = (try tensor([channels], network.dtype), try tensor([channels], network.dtype).exp())
    let steps: [(name: String, apply: (Tensor) throws -> Tensor)] = [
      ("scale and shift", { try $0 * one + 0.3 }), ("third", { try $0 / 3.0 }),
      (
        "normalize",
        {
          let operation = NormalizeChannels(name: "BatchNorm", eps: 1e-5, hasWeight: true, hasBias: true)
          return try applyAll(operation, [$0, two, four, three, two])[0]
        }
      ),
      ("x sigmoid x", { try $0 * $0.sigmoid() }),
      ("x (1 + erf x)", { try $0 * (($0 / 2.0.squareRoot()).erf() + 1.0) * 0.5 }),
    ]
    network.steps.append(steps[pick(0...4)])
  }

  mutating func step(_ network: inout RandomNetwork) throws {
    switch pick(0...16) {
    case 0, 1, 2: try convolution(&network)
    case 3: try convolution(&network, transposed: true)
    case 4:
      let (k, s) = (pick(1...4), pick(1...3))
      let geometry = try PoolGeometry(
        name: "pool", rank: 1, kernelSize: PerAxis([k]), stride: PerAxis([s]), padding: PerAxis([pick(0...(k / 2))]))
      let isMaximum = pick(0...1) == 0
      network.steps.append(
        (
          "\(isMaximum ? "max" : "average") pool \(k) \(s) \(geometry.paddingLow)",
          { try isMaximum ? $0.maxPooled(geometry) : $0.averagePooled(geometry) }
        ))
    case 5:
      let (factor, kinds) = (pick(1...4), [Interpolation.nearest, .nearestExact, .linear, .cubic])
      let kind = kinds[pick(0...3)]
      network.steps.append(
        ("\(kind) × \(factor)", { try $0.resampled(axis: 2, size: $0.shape[2] * factor, kind) }))
    case 6:
      let (low, high) = (pick(0...4), pick(0...4))
      let modes = [PaddingMode.zeros, .reflect, .replicate]
      let mode = modes[pick(0...2)]
      network.steps.append(
        ("pad \(low) \(high) \(mode)", { try $0.padded([(2, low, high)], mode: mode, value: 0.5) }))
    case 7:
      let (low, high) = (pick(0...4), pick(0...4))
      network.steps.append(
        (
          "crop \(low) \(high)",
          { try $0.slice(axis: 2, min(low, $0.shape[2])..<max(min(low, $0.shape[2]), $0.shape[2] - high)) }
        ))
    case 12:
      let (low, step) = (pick(0...3), pick(2...3))
      network.steps.append(
        (
          "every \(step). from \(low)",
          { x in try x.slice(axis: 2, min(low, x.shape[2])..<x.shape[2], step: step) }
        ))
    case 14: try attention(&network)
    case 15: try constants(&network)
    case 13: network.steps.append(("softmax", { try $0.softmax(axis: 1) }))
    case 8: network.steps.append(("leaky", { try $0.leakyReLU(negativeSlope: 0.1) }))
    case 9: network.steps.append(("cumsum", { try $0.cumsum(axis: 2).cast(to: $0.dtype).tanh() }))
    case 10:
      // A residual branch of another delay.
      let channels = network.channels
      var branch = RandomNetwork(channels: channels, dtype: network.dtype)
      for _ in 0..<pick(1...2) { try convolution(&branch, keepsLength: true) }
      let back = try tensor([channels, branch.channels, 1], network.dtype)
      let one = try ConvolutionGeometry(
        rank: 1, inChannels: branch.channels, outChannels: channels, kernelSize: 1)
      let inner = branch
      network.steps.append(
        ("x + (\(branch))", { x in try x + inner(x).convolved(one, weight: back, bias: nil) }))
    case 11:
      let (before, after) = (
        try tensor([1, network.channels, pick(0...3)], network.dtype),
        try tensor([1, network.channels, pick(0...3)], network.dtype)
      )
      network.steps.append(
        ("enclose \(before.shape[2]) \(after.shape[2])", { try Tensor.concatenate([before, $0, after], axis: 2) }))
    default:
      // Channels become time, and a U-Net of one level.
      if pick(0...1) == 0 {
        let (factor, channels) = (pick(2...3), pick(1...3))
        try convolution(&network, keepsLength: true)
        let mixed = try ConvolutionGeometry(
          rank: 1, inChannels: network.channels, outChannels: channels * factor, kernelSize: 1)
        let weight = try tensor(mixed.weightShape, network.dtype)
        network.steps.append(
          (
            "pixel shuffle \(factor)",
            { x in
              let y = try x.convolved(mixed, weight: weight, bias: nil)
              return try y.reshaped([1, channels, factor, y.shape[2]]).permuted([0, 1, 3, 2])
                .reshaped([1, channels, y.shape[2] * factor])
            }
          ))
        network.channels = channels
      } else {
        let channels = network.channels
        let down = try ConvolutionGeometry(
          rank: 1, inChannels: channels, outChannels: 3, kernelSize: 4, stride: 2, padding: 1)
        let up = try ConvolutionGeometry(
          rank: 1, isTransposed: true, inChannels: 3, outChannels: 2, kernelSize: 4, stride: 2, padding: 1)
        let weights = (try tensor(down.weightShape, network.dtype), try tensor(up.weightShape, network.dtype))
        network.steps.append(
          (
            "U-Net",
            { x in
              let inner = try x.convolved(down, weight: weights.0, bias: nil).relu()
              return try Tensor.concatenate([x, inner.convolved(up, weight: weights.1, bias: nil)], axis: 1)
            }
          ))
        network.channels += 2
      }
    }
  }
}

extension NetworkDraw {
  /// How many random networks a test takes; `TOEPLITZ_STREAM_NETWORKS` makes more or less of the usual number, of which 500 is its.
  static func count(_ usual: Int) -> Int {
    ProcessInfo.processInfo.environment["TOEPLITZ_STREAM_NETWORKS"].flatMap { Int($0) }.map { max(1, usual * $0 / 500) }
      ?? usual
  }

  /// A network of up to twelve steps.
  mutating func network(dtype: DType) throws -> RandomNetwork {
    var network = RandomNetwork(channels: pick(1...3), dtype: dtype)
    for _ in 0..<pick(1...12) { try step(&network) }
    return network
  }
}

extension RandomNetwork {
  /// The channels that the first step takes.
  var inputChannels: Int {
    for channels in 1...3 where (try? self(Tensor.zeros([1, channels, 96], dtype: dtype))) != nil { return channels }
    return 1
  }
}
