import ToeplitzOps
import ToeplitzTensor

/// Layers applied one after another; keys are `0`, `1`, ….
///
/// A convolution, the batch normalisation after it (in evaluation mode) and the activation after these are computed in one
/// pass.
open class Sequential: Module, UnaryLayer {
  /// The layers.
  public private(set) var layers: [any UnaryLayer] { didSet { ModuleChanges.note() } }

  /// The given layers in order.
  public init(_ layers: [any UnaryLayer]) { self.layers = layers }

  /// The given layers in order.
  public convenience init(_ layers: any UnaryLayer...) { self.init(layers) }

  /// The layer at `index`, counted from 0.
  public subscript(index: Int) -> any UnaryLayer {
    get { layers[index] }
    set { layers[index] = newValue }
  }

  /// Adds a layer at the end.
  public func append(_ layer: any UnaryLayer) { layers.append(layer) }

  /// Adds a function at the end.
  public func append(_ function: @escaping (Tensor) throws -> Tensor) { append(Lambda(function)) }

  /// Elements stand directly under the module's own key.
  open override func key(forProperty name: String) -> String {
    name == "layers" ? "" : super.key(forProperty: name)
  }

  /// Each layer's output is the next one's input.
  open func forward(_ x: Tensor) throws -> Tensor { try layers.reduce(x) { try $1($0) } }

  /// The layers' sizes one after another; where one does not say its own, all are traced together.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    do {
      return try layers.reduce(inputSize) { try $1.outputSize(for: $0) }
    } catch {
      guard firstChannels != nil else { throw error }
      return try super.outputSize(for: inputSize)
    }
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

/// A function as a layer, for a ``Sequential``.
///
/// ```swift
/// let head = try Sequential(Conv1d(64, 1, kernelSize: 7, padding: 3), Lambda { try $0.tanh() })
/// ```
public final class Lambda: Module, UnaryLayer {
  private let function: (Tensor) throws -> Tensor

  /// A layer that calls `function`, which holds no parameters that should be found.
  public init(_ function: @escaping (Tensor) throws -> Tensor) { self.function = function }

  /// What the function gives.
  public func forward(_ x: Tensor) throws -> Tensor { try function(x) }
}

/// Numbered modules that the owner calls itself; keys are `0`, `1`, ….
public final class ModuleList<Element: Module>: Module, RandomAccessCollection {
  /// The modules.
  public private(set) var elements: [Element] { didSet { ModuleChanges.note() } }

  /// The given modules.
  public init(_ elements: [Element] = []) { self.elements = elements }

  /// The given modules.
  public convenience init(_ elements: Element...) { self.init(elements) }

  /// Adds a module at the end.
  public func append(_ element: Element) { elements.append(element) }

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
  public subscript(index: Int) -> Element {
    get { elements[index] }
    set { elements[index] = newValue }
  }
}
