import ToeplitzOps
import ToeplitzTensor

/// Layers applied one after another; keys are `0`, `1`, ….
open class Sequential: Module, UnaryLayer {
  /// The layers.
  public let layers: [any UnaryLayer]

  /// The given layers in order.
  public init(_ layers: [any UnaryLayer]) { self.layers = layers }

  /// The given layers in order.
  public convenience init(_ layers: any UnaryLayer...) { self.init(layers) }

  /// Elements stand directly under the module's own key.
  open override func key(forProperty name: String) -> String {
    name == "layers" ? "" : super.key(forProperty: name)
  }

  /// Each layer's output is the next one's input.
  open func forward(_ x: Tensor) throws -> Tensor { try layers.reduce(x) { try $1($0) } }

  /// The layers' sizes one after another.
  open override func outputSize(for inputSize: [Int]) throws -> [Int] {
    try layers.reduce(inputSize) { try $1.outputSize(for: $0) }
  }

  /// The layers' inverses, last first.
  open override func inputLengths(for length: Int, axis: Int) -> Range<Int> {
    layers.reversed().reduce(singleLength(length)) { range, layer in
      // Lengths grow with their inputs, so the ends of the range are enough.
      func inputs(_ output: Int) -> Range<Int>? {
        let found = layer.inputLengths(for: output, axis: axis)
        return found.isEmpty ? nil : found
      }
      guard let first = range.lazy.compactMap(inputs).first, let last = range.reversed().lazy.compactMap(inputs).first
      else { return 0..<0 }
      return first.lowerBound..<last.upperBound
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
