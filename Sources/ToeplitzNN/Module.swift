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
///   init(channels: Int) throws { conv1 = try Conv1d(inChannels: 1, outChannels: channels, kernelSize: 3) }
///   func forward(_ x: Tensor) throws -> Tensor { try act(conv1(x)) }
/// }
/// ```
open class Module: CustomStringConvertible {
  /// The dotted path inside the model that was last walked from its root; empty at the root.
  public internal(set) var path = ""
  /// Whether the module behaves as in training (dropout drops, batch norm measures); true at first, as in PyTorch.
  public private(set) var isTraining = true

  /// A module without anything.
  public init() {}

  /// The state-dictionary key of a stored property: its name in snake case.
  open func key(forProperty name: String) -> String { snakeCase(name) }

  /// The type's name in listings, such as `Conv1d`.
  open var displayName: String { "\(type(of: self))" }

  /// What stands in the parentheses of ``description``.
  open var extraRepr: String { "" }

  /// Multiply-adds for an input and output of the given shapes, of this module without its children.
  open func multiplyAdds(input: Shape, output: Shape) throws -> Int { 0 }

  /// The spatial output size for a spatial input size; the same size unless a layer says otherwise.
  ///
  /// - Throws: ``ToeplitzError`` if there is no output for such an input.
  open func outputSize(for inputSize: [Int]) throws -> [Int] { inputSize }

  /// The lengths of axis `axis` that give an output of `length` there; empty if none does.
  open func inputLengths(for length: Int, axis: Int) -> Range<Int> { singleLength(length) }

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
  /// The output for `x`.
  ///
  /// - Throws: ``ToeplitzError`` that carries the layer's path.
  public func callAsFunction(_ x: Tensor) throws -> Tensor {
    try observed(x) { try forward(x) }
  }
}

extension Module {
  /// Runs one call of this module: errors get its path, and an observer hears of it.
  func observed(_ x: Tensor, _ body: () throws -> Tensor) throws -> Tensor {
    do {
      let y = try body()
      CallObserver.current?.note(self, x.shape, y.shape)
      return y
    } catch var error as ToeplitzError {
      if error.path.isEmpty { error.path = path }
      throw error
    }
  }
}

/// Hears of every call of a module while it is current (see ``Module/summary(inputShape:dtype:)``).
final class CallObserver: @unchecked Sendable {
  @TaskLocal static var current: CallObserver?
  private let heard: (Module, Shape, Shape) -> Void

  init(_ heard: @escaping (Module, Shape, Shape) -> Void) { self.heard = heard }
  func note(_ module: Module, _ input: Shape, _ output: Shape) { heard(module, input, output) }
}

/// The range of `length` alone; empty where it is no length.
func singleLength(_ length: Int) -> Range<Int> { length > 0 && length < Int.max ? length..<(length + 1) : 0..<0 }

/// `convPre` → `conv_pre`, `weightG` → `weight_g`, `conv1` → `conv1`.
func snakeCase(_ name: String) -> String {
  var result = ""
  for character in name {
    if character.isUppercase {
      if !result.isEmpty { result.append("_") }
      result.append(contentsOf: character.lowercased())
    } else {
      result.append(character)
    }
  }
  return result
}
