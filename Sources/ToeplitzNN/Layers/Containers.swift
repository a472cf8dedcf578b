import ToeplitzOps
import ToeplitzTensor

/// Layers applied one after another; keys are `0`, `1`, ….
///
/// A convolution, the batch normalisation after it (in evaluation mode) and the activation after these are computed in one
/// pass.
open class Sequential: Module, UnaryLayer {
  /// The layers.
  public let layers: [any UnaryLayer]
  private let steps: [Step]

  /// Neighbouring layers that may be computed in one pass: a convolution and what follows it, or one layer of any kind.
  ///
  /// An object, because a copy of its references would take as long as a small convolution.
  private final class Step {
    let first: Int
    var count = 1
    var convolution: ConvolutionLayer?
    var norm: (any BatchNormLayer)?
    var activation: (layer: any UnaryLayer, function: Activation)?
    /// The only step of a container inside that this step is.
    var content: [Step] = []
    /// How many steps from this one on may be computed together (see `SeparableConvolution`).
    var together = 1

    /// What is computed in the end.
    var inner: Step { content.first ?? self }

    init(first: Int) { self.first = first }
  }

  /// The given layers in order.
  public init(_ layers: [any UnaryLayer]) {
    self.layers = layers
    var steps: [Step] = []
    var next = 0
    while next < layers.count {
      let step = Step(first: next)
      next += 1
      if let convolution = layers[step.first] as? ConvolutionLayer {
        step.convolution = convolution
        if next < layers.count, let norm = layers[next] as? any BatchNormLayer {
          step.norm = norm
          next += 1
        }
        if next < layers.count, let function = fusedActivation(layers[next]) {
          step.activation = (layers[next], function)
          next += 1
        }
      }
      if let container = layers[step.first] as? Sequential, type(of: container) == Sequential.self,
        container.steps.count == 1
      {
        step.content = container.steps
      }
      step.count = next - step.first
      steps.append(step)
      for count in 2...3 where count <= steps.count {
        let run = (steps.suffix(count).dropLast().map(\.inner) + [step]).compactMap(\.convolution)
        if run.count == count, run.allSatisfy({ $0.layout == .channelsFirst }),
          SeparableConvolution.supports(run.map(\.geometry))
        {
          steps[steps.count - count].together = count
        }
      }
    }
    self.steps = steps
  }

  /// The given layers in order.
  public convenience init(_ layers: any UnaryLayer...) { self.init(layers) }

  /// Elements stand directly under the module's own key.
  open override func key(forProperty name: String) -> String {
    name == "layers" ? "" : super.key(forProperty: name)
  }

  /// Each layer's output is the next one's input.
  open func forward(_ x: Tensor) throws -> Tensor { try run(x) }

  /// The output plus `residual`, added in the last layer's pass if that is a convolution.
  package func callAsFunction(_ x: Tensor, adding residual: Tensor) throws -> Tensor {
    try observed(x) { try run(x, adding: residual) }
  }

  private func run(_ x: Tensor, adding residual: Tensor? = nil) throws -> Tensor {
    if steps.isEmpty, let residual { return try x + residual }
    var y = x
    var index = 0
    while index < steps.count {
      let together = steps[index].together
      if together > 1, let next = try compute(index..<(index + together), y, adding: residual) {
        y = next
        index += together
        continue
      }
      y = try compute(steps[index], y, adding: index + 1 == steps.count ? residual : nil)
      index += 1
    }
    return y
  }

  /// Some neighbouring steps in one pass; nil where that may not be.
  private func compute(_ range: Range<Int>, _ x: Tensor, adding residual: Tensor?) throws -> Tensor? {
    guard x.rank == 4, x.dtype == .float32, !OutermostCall.isHeard else { return nil }
    let added = range.upperBound == steps.count ? residual : nil
    var operands = [x]
    var stages: [ConvolutionStage] = []
    for index in range {
      let isLast = index + 1 == range.upperBound
      let step = isLast ? steps[index] : steps[index].inner
      guard let layer = step.convolution, layer.fusesWhatFollows, !isLast || step.activation == nil || added == nil,
        let (weight, bias) = try layer.values(x, step.norm)
      else { return nil }
      var operation = layer.operation(Epilogue(activation: step.activation?.function))
      operation.residualCount = isLast && added != nil ? 1 : 0
      stages.append(ConvolutionStage(operation, hasBias: bias != nil))
      operands.append(weight)
      if let bias { operands.append(bias) }
    }
    return try applyAll(SeparableConvolution(stages), operands + [added].compactMap { $0 })[0]
  }

  private func compute(_ step: Step, _ x: Tensor, adding residual: Tensor? = nil) throws -> Tensor {
    // A residual is added before an activation of the same pass.
    guard let layer = step.convolution, layer.fusesWhatFollows, step.activation == nil || residual == nil else {
      let y = try layers[step.first..<(step.first + step.count)].reduce(x) { try $1($0) }
      return try residual.map { try y + $0 } ?? y
    }
    let epilogue = Epilogue(activation: step.activation?.function)
    let residuals = [residual].compactMap { $0 }
    let y =
      try step.norm.map { try layer.normalized(x, $0, epilogue, adding: residuals) }
      ?? layer(x, epilogue: epilogue, adding: residuals)
    step.activation?.layer.heard(y, y)
    return y
  }

  /// The layers' sizes one after another.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    try layers.reduce(inputSize) { try $1.outputSize(for: $0) }
  }

  /// The layers' inverses, last first.
  ///
  /// Layers are taken to be monotone: between the inputs of two output lengths lie those of the lengths between.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    // A transposed convolution has no input for most lengths, an adaptive pooling has one for every length: looking
    // from both ends finds the next without walking through all.
    let reach = 1 << 16
    return layers.reversed().reduce(singleLength(length)) { range, layer in
      func inputs(_ length: Int) -> Range<Int>? {
        let inputs = layer.inputLengths(for: length, axis: axis)
        return inputs.isEmpty ? nil : inputs
      }
      guard let first = range.prefix(reach).lazy.compactMap(inputs).first else { return 0..<0 }
      let last = range.suffix(reach).reversed().lazy.compactMap(inputs).first ?? first
      return first.lowerBound..<max(first.upperBound, last.upperBound)
    }
  }
}

/// Numbered modules that the owner calls itself; keys are `0`, `1`, ….
public final class ModuleList<Element: Module>: Module, RandomAccessCollection {
  /// The modules.
  public let elements: [Element]

  /// The given modules.
  public init(_ elements: [Element]) { self.elements = elements }

  /// Elements stand directly under the module's own key.
  public override func key(forProperty name: String) -> String {
    name == "elements" ? "" : super.key(forProperty: name)
  }

  /// `ModuleList`.
  public override var displayName: String { "ModuleList" }
  /// Zero.
  public var startIndex: Int { 0 }
  /// The number of modules.
  public var endIndex: Int { elements.count }
  /// The module at `index`.
  public subscript(index: Int) -> Element { elements[index] }
}
