import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// How ``ONNXQuantizer`` chooses codes.
public struct QuantizationOptions: Sendable {
  /// What the ranges of activations are taken from.
  public enum Calibration: Sendable, Hashable {
    /// The least and largest number that occurs.
    case minMax
    /// The range that holds this percentage of the numbers, the rest being cut at both ends alike.
    case percentile(Double)
  }

  /// What the ranges of activations are taken from.
  public var calibration = Calibration.minMax
  /// Whether each output channel of a weight has a scale of its own; before opset 13 there is one for all.
  public var perChannel = true
  /// Names of nodes, or of operators, that stay in float; a `*` at the end stands for any end.
  public var keptInFloat: [String] = []

  /// Min-max calibration, a scale for each channel, all layers.
  public init() {}

  /// Whether a node stays in float.
  func keeps(_ name: String, _ operation: String) -> Bool {
    keptInFloat.contains { pattern in
      pattern.hasSuffix("*")
        ? name.hasPrefix(pattern.dropLast()) : pattern == name || pattern == operation
    }
  }
}

/// What quantisation did to a model.
public struct QuantizationReport: Sendable {
  /// One layer.
  public struct Layer: Sendable {
    /// The node's name, or that of its result.
    public var name: String
    /// The operator.
    public var operation: String
    /// The range that the codes of its result stand for.
    public var low: Double
    /// The upper end of that range.
    public var high: Double
    /// The error that this layer adds by itself, from exact inputs: its norm over that of the result.
    public var ownError: Double
    /// The error of its result in the quantised model, with that of all layers before: its norm over that of the result.
    public var totalError: Double
  }

  /// The layers in order.
  public var layers: [Layer]
  /// For each output of the model the norm of its error over its own.
  public var outputErrors: [(name: String, error: Double)]
  /// How often the largest element of each row of the first output is where it was; nil if it is no matrix of scores.
  public var sameLargest: Double?
  /// Bytes of the model before and after.
  public var byteCounts: (before: Int, after: Int)
  /// Samples it was calibrated with.
  public var sampleCount: Int
}

/// Static quantisation of ONNX models: float32 in, int8 weights and uint8 activations out, in the QDQ form that ONNX Runtime,
/// Toeplitz and others compute with whole numbers.
///
/// Convolutions and linear maps (Conv of one or two axes, MatMul and Gemm with constant weights) become layers of codes;
/// batch normalisation is folded into them first, ReLU and Clip are taken with them, and what only moves, adds or averages codes
/// gives codes again. Weights are symmetric int8 (−127 … 127), activations asymmetric uint8, biases int32, as in
/// [Quantizing ONNX models](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
public enum ONNXQuantizer {
  /// Quantises the model at `path`.
  ///
  /// - Parameters:
  ///   - samples: inputs by name that are like those it will see; the ranges of activations are taken from them.
  /// - Returns: The bytes of the quantised model, and how far it is from the one that was given.
  /// - Throws: ``ToeplitzError`` if the model cannot be read, is older than opset 10, has no layer to quantise, or a sample does
  ///   not fit.
  public static func quantize(
    contentsOf path: String, samples: [[String: Tensor]], options: QuantizationOptions = QuantizationOptions()
  ) throws -> (model: [UInt8], report: QuantizationReport) {
    let original = try EditedModel(contentsOf: path)
    guard original.opset >= 10 else {
      throw ToeplitzError(
        .unsupported, path, expected: "a model of opset 10 or higher, better 13 (export it again)",
        got: "opset \(original.opset)")
    }
    guard !samples.isEmpty else { throw ToeplitzError(.argument, path, expected: "at least one sample", got: "none") }
    if case .percentile(let percent) = options.calibration, !(percent > 50 && percent <= 100) {
      throw ToeplitzError(.argument, "quantize", expected: "a percentile above 50 and up to 100", got: "\(percent)")
    }
    guard !original.nodes.contains(where: { $0.operation == "DequantizeLinear" }) else {
      throw ToeplitzError(.argument, path, expected: "a model of float32 numbers", got: "one that is quantised")
    }
    let model = try original.foldingNormalizations()
    let layers = QuantizedLayer.all(in: model) { options.keeps($0.name, $0.operation) }
    guard !layers.isEmpty else {
      throw ToeplitzError(
        .argument, path, expected: "Conv, MatMul or Gemm nodes with constant float32 weights", got: "none")
    }
    let values = quantizedValues(model, layers, options)
    let ranges = try calibrated(model, values, samples, options.calibration)
    let perChannel = options.perChannel && model.opset >= 13
    var writer = QuantizedModelWriter(model, layers, ranges, perChannel: perChannel)
    let quantized = try writer.quantized()
    let bytes = try quantized.written()
    var report = try errors(model, quantized, layers, ranges, samples, perChannel: perChannel)
    report.byteCounts = (try model.written().count, bytes.count)
    return (bytes, report)
  }

  /// The values that become codes, in the order in which they are made; for each the value whose range it has.
  private static func quantizedValues(
    _ model: EditedModel, _ layers: [QuantizedLayer], _ options: QuantizationOptions
  ) -> [(name: String, range: String)] {
    var source: [String: String] = [:]
    var order: [String] = []
    func add(_ name: String, _ range: String) {
      if source.updateValue(range, forKey: name) == nil { order.append(name) }
    }
    let byNode = Dictionary(layers.map { ($0.activation ?? $0.node, $0) }) { $1 }
    let inputs = Set(layers.map(\.input))
    // What a ReLU takes and nobody else is quantised after it.
    let uses = model.useCounts
    let rectified = Set(model.nodes.filter { $0.operation == "Relu" && $0.domain.isEmpty }.flatMap(\.inputs))
    var unquantized: Set<String> = []
    let inner = Set(layers.compactMap { layer in layer.activation.map { _ in model.nodes[layer.node].outputs[0] } })
    for input in model.inputs where inputs.contains(input.name) { add(input.name, input.name) }
    for (index, node) in model.nodes.enumerated() {
      if let layer = byNode[index] { add(layer.output, layer.output) }
      let operands = QuantizedPassage.operands(node)
      if node.domain.isEmpty, node.outputs.count == 1, !options.keeps(node.name, node.operation), byNode[index] == nil,
        !operands.isEmpty, operands.allSatisfy({ source[$0] != nil || unquantized.contains($0) })
      {
        if QuantizedPassage.moving.contains(node.operation) {
          add(node.outputs[0], source[operands[0]] ?? operands[0])
        } else if node.operation == "Add", uses[node.outputs[0]] == 1, rectified.contains(node.outputs[0]) {
          unquantized.insert(node.outputs[0])
        } else if QuantizedPassage.computing.contains(node.operation) {
          add(node.outputs[0], node.outputs[0])
        }
      }
      for output in node.outputs where inputs.contains(output) && source[output] == nil && !inner.contains(output) {
        add(output, output)
      }
    }
    return order.map { ($0, source[$0] ?? $0) }
  }

  // MARK: Calibration

  private static func calibrated(
    _ model: EditedModel, _ values: [(name: String, range: String)], _ samples: [[String: Tensor]],
    _ calibration: QuantizationOptions.Calibration
  ) throws -> [String: QuantizedRange] {
    let names = Array(Set(values.map(\.range))).sorted()
    var (lows, highs) = ([String: Double](), [String: Double]())
    try observe(model, names, samples) { name, numbers in
      guard numbers.dtype == .float32, numbers.count > 0 else { return }
      let low = Double(try numbers.min().item(Float.self))
      let high = Double(try numbers.max().item(Float.self))
      guard low.isFinite, high.isFinite else {
        throw ToeplitzError(.argument, "quantize", expected: "finite numbers in '\(name)'", got: "others")
      }
      lows[name] = min(lows[name] ?? low, low)
      highs[name] = max(highs[name] ?? high, high)
    }
    var ranges: [String: QuantizedRange] = [:]
    if case .percentile(let percent) = calibration {
      var histograms: [String: Histogram] = [:]
      for (name, low) in lows { histograms[name] = Histogram(low: low, high: highs[name] ?? low) }
      try observe(model, names, samples) { name, numbers in
        if numbers.dtype == .float32 { histograms[name]?.add(try numbers.scalars(Float.self)) }
      }
      for (name, histogram) in histograms { ranges[name] = histogram.range(percent: percent) }
    } else {
      for (name, low) in lows { ranges[name] = QuantizedRange(low: low, high: highs[name] ?? low) }
    }
    // Values of other types, such as shapes, have none.
    return Dictionary(values.compactMap { value in ranges[value.range].map { (value.name, $0) } }) { $1 }
  }

  /// Calls `body` with the named values of every sample.
  private static func observe(
    _ model: EditedModel, _ names: [String], _ samples: [[String: Tensor]],
    _ body: (String, Tensor) throws -> Void
  ) throws {
    var model = model
    let own = Set(model.inputs.map(\.name))
    let outputs = Set(model.outputs.map(\.name))
    model.extraOutputs = names.filter { !own.contains($0) && !outputs.contains($0) }
    let executable = try Executable(onnx: model.written())
    for sample in samples {
      for name in names where own.contains(name) {
        if let tensor = sample[name] { try body(name, tensor) }
      }
      let wanted = Set(names)
      for (port, tensor) in zip(executable.outputs, try executable.run(sample)) where wanted.contains(port.name) {
        try body(port.name, tensor.contiguous())
      }
    }
  }

  // MARK: Errors

  private static func errors(
    _ model: EditedModel, _ quantized: EditedModel, _ layers: [QuantizedLayer], _ ranges: [String: QuantizedRange],
    _ samples: [[String: Tensor]], perChannel: Bool
  ) throws -> QuantizationReport {
    var writer = QuantizedModelWriter(model, layers, ranges, perChannel: perChannel)
    var (compared, own) = try writer.compared()
    let outputs = model.outputs.map(\.name)
    let exact = layers.map(\.output)
    compared.extraOutputs = own + exact.filter { !outputs.contains($0) }
    var codes = quantized
    codes.extraOutputs = exact.filter { !outputs.contains($0) }
    let (reference, result) = (try Executable(onnx: compared.written()), try Executable(onnx: codes.written()))
    var ownErrors = Array(repeating: Deviation(), count: layers.count)
    var totalErrors = ownErrors
    var outputErrors = Array(repeating: Deviation(), count: outputs.count)
    var (same, rows) = (0, 0)
    // A few samples show it; all would take as long as calibration.
    for sample in samples.prefix(16) {
      let a = try named(reference, sample)
      let b = try named(result, sample)
      for (index, layer) in layers.enumerated() {
        try ownErrors[index].add(a[layer.output], a[own[index]])
        try totalErrors[index].add(a[layer.output], b[layer.output])
      }
      for (index, name) in outputs.enumerated() { try outputErrors[index].add(a[name], b[name]) }
      if let name = outputs.first, let x = a[name], let y = b[name], x.rank == 2, x.shape[1] > 1, x.dtype == .float32 {
        let places = [try x.argmax(axis: 1), try y.argmax(axis: 1)].map { try? $0.scalars(Int64.self) }
        for (one, other) in zip(places[0] ?? [], places[1] ?? []) {
          rows += 1
          same += one == other ? 1 : 0
        }
      }
    }
    return QuantizationReport(
      layers: layers.enumerated().map { index, layer in
        let node = model.nodes[layer.node]
        return QuantizationReport.Layer(
          name: node.name.isEmpty ? layer.output : node.name, operation: node.operation,
          low: ranges[layer.output]?.low ?? 0, high: ranges[layer.output]?.high ?? 0,
          ownError: ownErrors[index].relative, totalError: totalErrors[index].relative)
      },
      outputErrors: zip(outputs, outputErrors).map { ($0, $1.relative) },
      sameLargest: rows > 0 ? Double(same) / Double(rows) : nil, byteCounts: (0, 0), sampleCount: samples.count)
  }

  private static func named(_ executable: Executable, _ sample: [String: Tensor]) throws -> [String: Tensor] {
    Dictionary(zip(executable.outputs.map(\.name), try executable.run(sample))) { $1 }
  }
}

/// The norm of a difference over the norm of what was exact.
private struct Deviation {
  private var difference = 0.0
  private var exact = 0.0

  mutating func add(_ a: Tensor?, _ b: Tensor?) throws {
    guard let a, let b, a.dtype == .float32, b.dtype == .float32, a.shape == b.shape else { return }
    for (x, y) in zip(try a.contiguous().scalars(Float.self), try b.contiguous().scalars(Float.self)) {
      difference += Double(x - y) * Double(x - y)
      exact += Double(x) * Double(x)
    }
  }

  var relative: Double { difference == 0 ? 0 : (difference / max(exact, .leastNormalMagnitude)).squareRoot() }
}

/// How often numbers of a range occur.
private struct Histogram {
  private static let bins = 4096
  private let low: Double
  private let width: Double
  private var counts = Array(repeating: 0, count: bins)

  init(low: Double, high: Double) {
    self.low = low
    width = max((high - low) / Double(Self.bins), .leastNormalMagnitude)
  }

  mutating func add(_ numbers: [Float]) {
    for number in numbers {
      let bin = (Double(number) - low) / width
      counts[bin > 0 ? Int(min(bin, Double(Self.bins - 1))) : 0] += 1
    }
  }

  /// The range that holds `percent` of the numbers, the rest being cut at both ends alike.
  func range(percent: Double) -> QuantizedRange {
    let cut = Double(counts.reduce(0, +)) * (100 - percent) / 200
    func edge(_ order: some Sequence<Int>) -> Int {
      var passed = 0.0
      for bin in order {
        passed += Double(counts[bin])
        if passed > cut { return bin }
      }
      return 0
    }
    let first = edge(0..<Self.bins)
    let last = edge((0..<Self.bins).reversed())
    return QuantizedRange(low: low + Double(first) * width, high: low + Double(max(first, last) + 1) * width)
  }
}
