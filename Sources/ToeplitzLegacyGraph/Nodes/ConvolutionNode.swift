import ToeplitzOps
import ToeplitzTensor

/// A convolution or transposed convolution of 1 to 3 spatial axes, with what compilation has joined to it.
///
/// Operands are x `[N, C, spatial…]`, the weight in PyTorch's order, a bias `[out]` or nil, then up to two residuals of
/// the output's shape. Channels and kernel size come from the weight.
public struct ConvolutionNode: GraphOperation {
  /// How the input is extended (convolution) or the output cropped (transposed).
  public enum Extension: Sendable, Hashable {
    /// By these numbers on each axis.
    case explicit(low: [Int], high: [Int])
    /// So that the output has `ceil(L / stride)` (transposed: `L × stride`) positions; an odd rest goes to the end, or to
    /// the beginning.
    case same(restAtEnd: Bool)
    /// Not at all.
    case none
  }

  /// The name in errors and listings.
  public var name: String
  /// Whether this is the transposed convolution.
  public var isTransposed = false { didSet { forms = GeometryCache() } }
  /// Step on each axis; 1 if nil.
  public var strides: [Int]? { didSet { forms = GeometryCache() } }
  /// Distance of taps on each axis; 1 if nil.
  public var dilations: [Int]? { didSet { forms = GeometryCache() } }
  /// Independent parts of the channels.
  public var groups = 1 { didSet { forms = GeometryCache() } }
  /// How input or output are extended or cropped.
  public var padding = Extension.none { didSet { forms = GeometryCache() } }
  /// What the extended positions hold.
  public var paddingMode = PaddingMode.zeros { didSet { forms = GeometryCache() } }
  /// Positions added to the end of a transposed convolution's output.
  public var outputPadding: [Int]? { didSet { forms = GeometryCache() } }
  /// The spatial size of a transposed convolution's output, which then decides how much is cropped.
  public var outputShape: [Int]? { didSet { forms = GeometryCache() } }
  /// What the weight's spatial sizes must be, if anything.
  public var kernelShape: [Int]? { didSet { forms = GeometryCache() } }
  /// What the weights of each output channel are multiplied by, in float64, when they are prepared.
  var weightFactors: Tensor?
  /// Factor of inputs below zero.
  var inputSlope = 1.0
  /// Factor of the sum.
  var outputScale = 1.0
  /// Factor of results below zero.
  var outputSlope = 1.0
  /// What is applied last.
  var activation: Activation?
  /// The geometries of the shapes that it has met; copies share them.
  private var forms = GeometryCache()

  /// A convolution with stride and dilation 1 and no padding.
  public init(name: String = "Conv") { self.name = name }

  /// The weight.
  public var rearrangedOperands: [Int] { [1] }

  /// Computes the convolution.
  public func evaluate(_ inputs: consuming [Tensor?], _ context: EvaluationContext) throws -> [Tensor?] {
    var inputs = consume inputs
    let x = try (inputs.first ?? nil).required(name, 0)
    let weight = try (inputs.count > 1 ? inputs[1] : nil).required(name, 1)
    let bias = inputs.count > 2 ? inputs[2] : nil
    let form = try form(x.shape, weight.shape)
    var operation = operation(form)
    var residuals = inputs.dropFirst(3).compactMap { $0 }
    // Who holds a residual alone may write over it.
    inputs = []
    if form.extra.isEmpty {
      let output = try residuals.isEmpty ? nil : operation.infer([x.spec, weight.spec])[0]
      if residuals.allSatisfy({ $0.spec == output }) {
        operation.overwrittenResidual = residuals.indices.first { residuals[$0].ownsStorage() }
        return [try operation(x, weight: weight, bias: bias, factors: weightFactors, adding: residuals)]
      }
    }
    // A residual that has to be broadcast is added afterwards.
    operation.epilogue = Epilogue(inputSlope: inputSlope)
    var result = try operation(x, weight: weight, bias: bias, factors: weightFactors)
    if !form.extra.isEmpty { result = try extended(result, form.extra, bias) }
    for residual in residuals { result = try result + residual }
    if outputScale != 1 { result = try result * outputScale }
    if outputSlope != 1 { result = try result.leakyReLU(negativeSlope: outputSlope) }
    return [try activation.map { try $0(result) } ?? result]
  }

  /// The operation with all that was joined to it, for a weight that it is prepared for; nil where its output is extended
  /// afterwards.
  func operation(_ x: Shape, _ weight: Shape) throws -> ConvolutionOperation? {
    let form = try form(x, weight)
    guard form.extra.isEmpty else { return nil }
    var operation = operation(form)
    operation.hasWeightFactors = weightFactors != nil
    return operation
  }

  private func operation(_ form: GeometryCache.Form) -> ConvolutionOperation {
    var operation = ConvolutionOperation(form.geometry)
    operation.epilogue = Epilogue(
      inputSlope: inputSlope, outputScale: outputScale, outputSlope: outputSlope, activation: activation)
    return operation
  }

  /// What belongs to an input and a weight of these shapes.
  func form(_ x: Shape, _ weight: Shape) throws -> GeometryCache.Form {
    try forms.form(x, weight) { try geometry(x, weight) }
  }

  /// Whether nothing comes after the sums yet.
  var isPlain: Bool { outputScale == 1 && outputSlope == 1 && activation == nil }

  /// Where a transposed convolution is asked for more positions than it reaches, they hold the bias alone.
  private func extended(_ y: Tensor, _ extra: [(axis: Int, low: Int, high: Int)], _ bias: Tensor?) throws -> Tensor {
    guard let bias else { return try y.padded(extra) }
    let shape = Shape([1, bias.count] + Array(repeating: 1, count: y.rank - 2))
    let shift = try bias.reshaped(shape)
    return try (y - shift).padded(extra) + shift
  }

  /// The geometry for an input and a weight, and how much the output is extended after all.
  package func geometry(
    _ x: Shape, _ weight: Shape
  ) throws -> (ConvolutionGeometry, [(axis: Int, low: Int, high: Int)]) {
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.shape, name, expected: expected, got: got)
    }
    let rank = weight.rank - 2
    guard (1...3).contains(rank) else { throw refuse("a weight of 3 to 5 dimensions", "shape \(weight)") }
    guard x.rank == weight.rank else { throw refuse("an input of \(weight.rank) dimensions", "shape \(x)") }
    let kernel = Array(weight.dropFirst(2))
    if let kernelShape, kernelShape != kernel { throw refuse("a kernel of \(kernelShape)", "\(kernel)") }
    func perAxis(_ values: [Int]?, _ label: String) throws -> [Int] {
      guard let values else { return Array(repeating: 1, count: rank) }
      guard values.count == rank, values.allSatisfy({ (1...(1 << 28)).contains($0) }) else {
        throw refuse("\(rank) \(label) of at least 1", "\(values)")
      }
      return values
    }
    let (strides, dilations) = (try perAxis(strides, "strides"), try perAxis(dilations, "dilations"))
    guard groups > 0, groups <= 1 << 40, kernel.allSatisfy({ (1...Int(Int32.max)).contains($0) }) else {
      throw refuse("groups and a kernel of at least 1", "groups \(groups), kernel \(kernel)")
    }
    let (channels, overflow) = weight[1].multipliedReportingOverflow(by: groups)
    guard !overflow else { throw refuse("a legal number of groups", "\(groups)") }
    let sizes = Array(x.dropFirst(2))
    guard sizes.allSatisfy({ $0 < 1 << 31 }) else { throw refuse("sizes below 2³¹", "shape \(x)") }
    var outputPadding = outputPadding ?? Array(repeating: 0, count: rank)
    guard outputPadding.count == rank, outputPadding.allSatisfy({ (0...Int(Int32.max)).contains($0) }) else {
      throw refuse("\(rank) numbers of output padding", "\(outputPadding)")
    }
    var (pads, extra) = try pads(sizes, kernel, strides, dilations, outputPadding)
    // The geometry's rule for output padding is PyTorch's; what lies beyond it is added afterwards.
    for axis in 0..<rank where isTransposed && outputPadding[axis] >= max(strides[axis], dilations[axis]) {
      extra.append((axis + 2, 0, outputPadding[axis]))
      outputPadding[axis] = 0
    }
    return (
      try ConvolutionGeometry(
        rank: rank, isTransposed: isTransposed, inChannels: isTransposed ? weight[0] : channels,
        outChannels: isTransposed ? channels : weight[0], kernelSize: PerAxis(kernel), stride: PerAxis(strides),
        padding: .asymmetric(pads), outputPadding: PerAxis(outputPadding), dilation: PerAxis(dilations), groups: groups,
        paddingMode: paddingMode), extra
    )
  }

  private func pads(
    _ sizes: [Int], _ kernel: [Int], _ strides: [Int], _ dilations: [Int], _ outputPadding: [Int]
  ) throws -> ([(low: Int, high: Int)], [(axis: Int, low: Int, high: Int)]) {
    var extra: [(axis: Int, low: Int, high: Int)] = []
    func total(_ axis: Int) -> Int {
      let extent = (kernel[axis] - 1) * dilations[axis] + 1
      if isTransposed {
        let wanted = outputShape?[axis] ?? sizes[axis] * strides[axis]
        return (sizes[axis] - 1) * strides[axis] + outputPadding[axis] + extent - wanted
      }
      let outputs = (sizes[axis] + strides[axis] - 1) / strides[axis]
      return max(0, (outputs - 1) * strides[axis] + extent - sizes[axis])
    }
    func split(_ restAtEnd: Bool) -> [(low: Int, high: Int)] {
      sizes.indices.map { axis in
        let sum = total(axis)
        if sum < 0 {
          extra.append((axis + 2, 0, -sum))
          return (0, 0)
        }
        return restAtEnd ? (sum / 2, sum - sum / 2) : (sum - sum / 2, sum / 2)
      }
    }
    if let outputShape, isTransposed {
      guard outputShape.count == sizes.count, outputShape.allSatisfy({ (1...Int(Int32.max)).contains($0) }) else {
        throw ToeplitzError(
          .argument, name, expected: "an output shape of \(sizes.count) sizes", got: "\(outputShape)")
      }
      if case .same(restAtEnd: true) = padding { return (split(true), extra) }
      return (split(false), extra)
    }
    switch padding {
    case .none: return (sizes.map { _ in (0, 0) }, [])
    case .same(let restAtEnd): return (split(restAtEnd), extra)
    case .explicit(let low, let high):
      guard low.count == sizes.count, high.count == sizes.count else {
        throw ToeplitzError(.argument, name, expected: "\(2 * sizes.count) pads", got: "\(low + high)")
      }
      return (zip(low, high).map { ($0, $1) }, [])
    }
  }
}
