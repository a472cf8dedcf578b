import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A graph made by hand: inputs, named weights, layers, and a function of them.
///
/// The function is recorded for each signature of inputs, with shapes inferred, as a module is.
///
/// ```swift
/// var graph = GraphBuilder(name: "encoder")
/// let x = graph.input("x", .float32, ["N", 64, "L"])
/// let weight = graph.weight("conv1d_weight.weight", .float32, [128, 64, 3])
/// let model = try graph.compiled(weights: ["conv1d_weight.weight": tensor]) { values in
///   [try conv1d(values[x], values[weight])]
/// }
/// ```
public struct GraphBuilder: ~Copyable {
  /// An input or a weight, to be looked up among ``Values``.
  public struct Value: Sendable, Hashable {
    fileprivate var index: Int
  }

  /// A layer, to be looked up among ``Values``.
  public struct LayerReference<Model: Module>: Sendable {
    fileprivate var index: Int
  }

  /// A weight that a caller gives when the graph is compiled.
  struct WeightDescription {
    var name: String
    var spec: TensorSpec
  }

  /// A layer that was handed over; only who has the lock touches it.
  fileprivate struct Layer: @unchecked Sendable {
    var name: String
    var module: Module
  }

  /// What values and layers are while the function runs.
  public struct Values {
    fileprivate var tensors: [Int: Tensor]
    fileprivate var layers: [Module]

    /// The tensor of an input or a weight.
    public subscript(value: Value) -> Tensor {
      guard let tensor = tensors[value.index] else { preconditionFailure("a value of another graph") }
      return tensor
    }

    /// The layer.
    public subscript<Model>(layer: LayerReference<Model>) -> Model {
      guard layer.index < layers.count, let model = layers[layer.index] as? Model else {
        preconditionFailure("a layer of another graph")
      }
      return model
    }
  }

  /// The name; may be empty.
  public var name: String
  private var inputs: [(port: PortDescription, value: Value)] = []
  private var weights: [(weight: WeightDescription, value: Value)] = []
  private var layers: [Layer] = []
  private var valueCount = 0

  /// A graph without anything.
  public init(name: String = "") { self.name = name }

  private mutating func value() -> Value {
    valueCount += 1
    return Value(index: valueCount - 1)
  }

  /// A new input.
  ///
  /// - Parameter dimensions: its sizes: numbers, or names that stand for one number throughout a call.
  public mutating func input(_ name: String, _ dtype: DType, _ dimensions: [AxisSize]) -> Value {
    let value = value()
    inputs.append((PortDescription(name: name, dtype: dtype, dimensions: dimensions), value))
    return value
  }

  /// A new weight, whose tensor is given when the graph is compiled.
  public mutating func weight(_ name: String, _ dtype: DType, _ shape: TensorShape) -> Value {
    let value = value()
    weights.append((WeightDescription(name: name, spec: TensorSpec(shape, dtype)), value))
    return value
  }

  /// A layer that the graph takes over and puts into evaluation mode; its parameters and buffers are weights named
  /// `name.parameter`.
  public mutating func layer<Model: Module>(_ name: String, _ layer: sending Model) -> LayerReference<Model> {
    layer.eval()
    layers.append(Layer(name: name, module: layer))
    return LayerReference(index: layers.count - 1)
  }

  /// The names, types and shapes of all weights, of layers too.
  public var weightSpecifications: [String: TensorSpec] {
    var all = Dictionary(weights.map { ($0.weight.name, $0.weight.spec) }) { first, _ in first }
    for layer in layers {
      for (key, tensor) in layer.module.stateDictionary() { all[join(layer.name, key)] = tensor.spec }
    }
    return all
  }

  /// Compiles the graph.
  ///
  /// - Parameters:
  ///   - tensors: the weights by name, of layers too (with none for a layer it keeps the values that it has).
  ///   - outputs: the names of what callers get.
  ///   - optimizes: whether operations are fused.
  ///   - function: gives the outputs.
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that names a weight that is missing, that the graph does not have, or
  ///   whose shape or type is another.
  public consuming func compiled(
    weights tensors: [String: Tensor] = [:], outputs: [String] = ["y"], optimizes: Bool = true,
    _ function: @escaping @Sendable (Values) throws -> [Tensor]
  ) throws -> Executable {
    func refuse(_ expected: String, _ got: String) -> ToeplitzError {
      ToeplitzError(.checkpoint, name.isEmpty ? "graph" : name, expected: expected, got: got)
    }
    let names = weights.map(\.weight.name) + inputs.map(\.port.name)
    if let twice = names.first(where: { name in names.count(where: { $0 == name }) > 1 }) {
      throw refuse("inputs and weights of different names", "two of '\(twice)'")
    }
    let specs = weightSpecifications
    let known = specs.keys.sorted().joined(separator: ", ")
    if let surplus = tensors.keys.sorted().first(where: { specs[$0] == nil }) {
      throw refuse(specs.isEmpty ? "no weights" : "weights of the graph: \(known)", "'\(surplus)'")
    }
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      if let spec = specs[name], spec != tensor.spec { throw refuse("'\(name)' as \(spec)", "\(tensor.spec)") }
    }
    let missing = weights.map(\.weight.name).filter { tensors[$0] == nil }
    guard missing.isEmpty else {
      throw refuse("a tensor for each weight", "none for " + missing.sorted().joined(separator: ", "))
    }
    for layer in layers {
      let own = layer.module.stateDictionary().keys
      let given = own.filter { tensors[join(layer.name, $0)] != nil }
      guard !given.isEmpty else { continue }
      if let missing = own.sorted().first(where: { !given.contains($0) }) {
        throw refuse("a tensor for each weight of the layer", "none for \(join(layer.name, missing))")
      }
      try layer.module.load(
        Dictionary(uniqueKeysWithValues: own.compactMap { key in tensors[join(layer.name, key)].map { (key, $0) } }))
    }
    let (inputValues, layers) = (inputs.map(\.value.index), layers)
    let weights = weights.compactMap { weight, value in tensors[weight.name].map { (weight.name, value.index, $0) } }
    let layerValues = layers.map { ModuleValues($0.module, path: $0.name) }
    let source = FunctionSource(inputs: inputs.map(\.port), outputs: outputs) { operands, trace in
      var known = Dictionary(uniqueKeysWithValues: weights.map { ($0.1, trace.weight($0.2, name: $0.0)) })
      for (value, operand) in zip(inputValues, operands) { known[value] = operand }
      func run(_ rest: ArraySlice<ModuleValues>) throws -> [Tensor] {
        guard let first = rest.first else { return try function(Values(tensors: known, layers: layers.map(\.module))) }
        return try first.traced(in: trace) { try run(rest.dropFirst()) }
      }
      return try run(layerValues[...])
    }
    return Executable(source, name: name, optimizes: optimizes)
  }
}
