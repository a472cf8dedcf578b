import ToeplitzOps
import ToeplitzTensor

/// A part of a network that holds parameters, buffers and other modules in its stored properties.
///
/// The properties' names, turned into snake case, are the keys of the state dictionary, so a model whose properties
/// are named like the attributes of a PyTorch model reads its checkpoint: `convPre` is `conv_pre`, element 0 of the
/// array `ups` is `ups.0`. Modules are objects because parameters have identity; they are not `Sendable`.
///
/// ```swift
/// final class Encoder: Module, UnaryLayer {
///   let conv1: Conv1d
///   let act = ReLU()
///   init(channels: Int) throws { conv1 = try Conv1d(1, channels, kernelSize: 3) }
///   func forward(_ x: Tensor) throws -> Tensor { try act(conv1(x)) }
/// }
/// ```
open class Module: CustomStringConvertible {
  /// The dotted path inside the model that was last walked from its root; empty at the root.
  ///
  /// Listing a model's modules or parameters, setting its mode and a failing call walk it.
  public internal(set) var path = ""
  /// Whether the module behaves as in training (dropout drops, batch norm measures); true at first, as in PyTorch.
  public private(set) var isTraining = true { didSet { ModuleChanges.note() } }

  /// The base name of the module's own parameters and buffers in the state dictionary, as `name` of Modular MAX's layers.
  ///
  /// With `conv` the weight's key is `conv.weight`. None if nil, as in PyTorch.
  public let name: String?

  /// A module without anything.
  ///
  /// A class derived from it may have `init() throws`, and needs to write `super.init()` only where it wants to.
  public init(name: String? = nil) { self.name = name }

  /// The state-dictionary key of a stored property: its name in snake case, where capitals in a row are one word (`convNCHW`
  /// is `conv_nchw`).
  ///
  /// A model overrides it where its checkpoint has other names:
  ///
  /// ```swift
  /// final class Classifier: Module {
  ///   let head: Linear
  ///   init() throws { head = try Linear(512, 10) }
  ///   override func key(forProperty name: String) -> String { name == "head" ? "fc" : super.key(forProperty: name) }
  /// }
  /// ```
  open func key(forProperty name: String) -> String { snakeCase(name) }

  /// The type's name in listings, such as `Conv1d`.
  open var displayName: String {
    let name = "\(type(of: self))"
    // `Conv<Rank1>` is `Conv1d`.
    for rank in 1...3 where name.hasSuffix("<Rank\(rank)>") { return name.dropLast("<Rank1>".count) + "\(rank)d" }
    return name
  }

  /// What stands in the parentheses of ``description``.
  open var extraRepr: String { "" }

  /// Multiply-adds for an input and output of the given shapes, of this module without its children.
  open func multiplyAdds(input: TensorShape, output: TensorShape) throws -> Int { 0 }

  /// The spatial output size for a spatial input size.
  ///
  /// A ``UnaryLayer`` that does not override it is traced, in evaluation mode, for one sample with the channels of its
  /// first layer that has such: nothing is computed.
  ///
  /// - Throws: ``ToeplitzError`` if there is no output for such an input, or the module takes several inputs or has no layer
  ///   that tells the channels.
  open func outputSize(for inputSize: [Int]) throws -> [Int] {
    guard let layer = self as? any UnaryLayer, let first = firstChannels else {
      throw ToeplitzError(
        .argument, displayName,
        expected: "a layer of one input with convolutions inside, or an override of outputSize(for:)",
        got: "a request for its output size, which this module does not say", path: path)
    }
    let shape = TensorShape(
      first.layout == .channelsFirst ? [1, first.count] + inputSize : [1] + inputSize + [first.count])
    let output = try layer.traced(TensorSpec(shape, first.dtype)).shape.dropFirst()
    return Array(first.layout == .channelsFirst ? output.dropFirst() : output.dropLast())
  }

  /// Channels, layout and element type of the input of the first layer inside that has such.
  var firstChannels: (count: Int, rank: Int, layout: TensorLayout, dtype: DType)? {
    namedModules().lazy.compactMap { _, module in
      (module as? ConvolutionLayer).map { ($0.inChannels, $0.geometry.rank, $0.layout, $0.dtype) }
    }.first
  }

  /// The lengths of axis `axis` that give an output of `length` there; empty if none does or the module does not say.
  open func inputLengths(for length: Int, axis: Int) -> Range<Int> { 0..<0 }

  /// Whether the layer computes something else in training mode.
  var dependsOnMode: Bool { false }

  /// Whether a first call in training mode, which nobody has asked for, is to be told.
  var reminder = ModeReminder.State.none

  /// What changes in a layer when the mode does.
  func setTraining(_ training: Bool) { isTraining = training }
}

extension Module {
  /// The output length of a module with one spatial axis.
  ///
  /// - Throws: ``ToeplitzError`` if there is no output for such an input.
  public func outputLength(for length: Int) throws -> Int { try outputSize(for: [length])[0] }

  /// The input lengths of a module with one spatial axis that give an output of `length`.
  public func inputLengths(for length: Int) -> Range<Int> { inputLengths(for: length, axis: 0) }
}

/// A module that makes one tensor of one tensor.
///
/// Conform by writing ``forward(_:)``; callers write `layer(x)`.
public protocol UnaryLayer: Module {
  /// Computes the output. Called by ``callAsFunction(_:)``.
  func forward(_ x: Tensor) throws -> Tensor
}

extension UnaryLayer {
  /// Shape and element type of the output in evaluation mode for an input of the given shape and type; nothing is computed.
  ///
  /// - Throws: ``ToeplitzError`` if the layer does not accept such an input or reads elements.
  public func traced(_ input: TensorSpec) throws -> TensorSpec {
    let trace = Trace()
    let x = trace.input(input, name: "x")
    return try evaluating { try trace.during { try ModuleValues(self).traced(in: trace) { try self(x) } } }.spec
  }

  /// The output for `x`.
  ///
  /// - Throws: ``ToeplitzError`` that carries the layer's path.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try recordCall(x) { try forward(x) }
  }
}

extension Module {
  /// Runs one call of this module: it appears in summaries, graphs and the paths of errors.
  ///
  /// ``UnaryLayer`` does so by itself. A module with several inputs does it in a call of its own, with the input that counts
  /// for multiply-adds:
  ///
  /// ```swift
  /// final class Modulated: Module {
  ///   let conv: Conv1d
  ///   init() throws { conv = try Conv1d(8, 8, kernelSize: 3, padding: 1) }
  ///   func callAsFunction(_ x: Tensor, scale: Tensor) throws -> Tensor { try recordCall(x) { try conv(x) * scale } }
  /// }
  /// ```
  public func recordCall(_ x: Tensor, _ body: () throws -> Tensor) throws -> Tensor {
    if let trace = Trace.running {
      trace.enter(path)
      defer { trace.leave() }
      return try called(x, body)
    }
    return try called(x, body)
  }

  private func called(_ x: Tensor, _ body: () throws -> Tensor) throws -> Tensor {
    guard let call = OutermostCall.current else {
      if reminder == .due, isTraining { ModeReminder.tell(self) }
      return try OutermostCall.$current.withValue(OutermostCall(module: self)) { try called(x, body) }
    }
    do {
      let y = try body()
      call.heard?(self, x.shape, y.shape)
      return y
    } catch var error as ToeplitzError {
      // Walking the tree takes far longer than a call, so it waits for the first failure.
      if error.path.isEmpty {
        error.path = call.module.namedModules().first { $0.module === self }?.path ?? ""
      }
      throw error
    }
  }
}

/// The call that all others which run now are part of.
///
/// Calls are synchronous, so the module is only touched by the task that called it.
struct OutermostCall: @unchecked Sendable {
  @TaskLocal static var current: OutermostCall?
  /// The module that was called.
  let module: Module
  /// Hears of every call with the shapes of input and output (see ``Module/summary(inputShape:dtype:)``).
  var heard: ((Module, TensorShape, TensorShape) -> Void)?
}

/// Throws unless parameters of type `dtype` can be computed with.
func requireNumbers(_ dtype: DType, _ layer: String) throws {
  guard !dtype.isNumber else { return }
  throw ToeplitzError(
    .dtype, layer, expected: "a type to compute with, a floating-point one or whole numbers of 8 to 64 bits",
    got: dtype.isNarrow ? "\(dtype), whose numbers are only stored and converted" : "\(dtype)")
}

/// The range of `length` alone; empty where it is no length.
package func singleLength(_ length: Int) -> Range<Int> {
  length > 0 && length < Int.max ? length..<(length + 1) : 0..<0
}

/// `convPre` → `conv_pre`, `weightG` → `weight_g`, `conv1` → `conv1`; capitals in a row are one word: `convNCHW` →
/// `conv_nchw`, `lastRNNCell` → `last_rnn_cell`.
func snakeCase(_ name: String) -> String {
  var result = ""
  let letters = Array(name)
  for (index, letter) in letters.enumerated() {
    if letter.isUppercase, index > 0 {
      let endsWord = index + 1 < letters.count && letters[index + 1].isLowercase
      if !letters[index - 1].isUppercase || endsWord { result.append("_") }
    }
    result.append(contentsOf: letter.lowercased())
  }
  return result
}
