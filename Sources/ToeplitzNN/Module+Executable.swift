import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Executable {
  /// Compiles a layer, which the executable takes over and puts into evaluation mode.
  ///
  /// ```swift
  /// let encoder = try Executable(tracing: Encoder(channels: 64))
  /// let y = try encoder(x)  // from any task, for inputs of any length
  /// ```
  ///
  /// The layer's code runs once for each new shape, on tensors that have shapes but no elements; it must not read elements
  /// of what it computes. See ``CompiledModule`` for a model that its owner goes on using.
  public convenience init<Model: UnaryLayer>(tracing model: sending Model, optimizes: Bool = true) throws {
    try self.init(tracing: model, inputs: [PortDescription(name: "x")], optimizes: optimizes) { [try $0($1[0])] }
  }

  /// Compiles what `forward` does with a model, which the executable takes over and puts into evaluation mode.
  ///
  /// - Parameters:
  ///   - model: the model.
  ///   - inputs: what callers give.
  ///   - outputs: the names of what they get.
  ///   - optimizes: whether operations are fused.
  ///   - forward: gives the outputs for inputs in the order of `inputs`.
  public convenience init<Model: Module>(
    tracing model: sending Model, inputs: [PortDescription], outputs: [String] = ["y"], optimizes: Bool = true,
    _ forward: @escaping @Sendable (Model, [Tensor]) throws -> [Tensor]
  ) throws {
    try model.requireVisibleState()
    model.eval()
    let name = model.displayName
    let source = moduleSource(model, ModuleValues(model), inputs: inputs, outputs: outputs, forward)
    self.init(source, name: name, optimizes: optimizes)
  }
}

/// A function of a model, whose values are `values`, as code that can be traced.
///
/// Walking a model takes longer than recording it, so it is done once.
private func moduleSource<Model: Module>(
  _ model: Model, _ values: ModuleValues, inputs: [PortDescription], outputs: [String],
  _ forward: @escaping (Model, [Tensor]) throws -> [Tensor]
) -> FunctionSource {
  FunctionSource(inputs: inputs, outputs: outputs) { operands, trace in
    try model.evaluating { try values.traced(in: trace) { try forward(model, operands) } }
  }
}

/// The parameters, buffers and weights of a model, as they are replaced by traced values for a while.
package struct ModuleValues {
  private let parameters: [(name: String, parameter: Parameter)]
  /// Weights computed from other parameters, which are traced as the weight that they are.
  private let weights: [(name: String, weight: LayerWeight)]
  /// The parameters that these are computed from.
  private let factors: [Parameter]

  /// Walks a model, which also tells its modules their paths; names begin with `path`.
  package init(_ model: Module, path: String = "") {
    var seen: Set<ObjectIdentifier> = []
    let values = model.namedValues().filter { seen.insert(ObjectIdentifier($0.parameter)).inserted }
    let modules = model.namedModules().map { (join(path, $0.path), $0.module) }
    for (path, module) in modules { module.path = path }
    weights = modules.flatMap { path, module in
      module.items.compactMap { key, item in
        guard case .weight(let weight) = item, weight.isComposed, seen.insert(ObjectIdentifier(weight)).inserted
        else {
          return nil
        }
        return (join(path, key), weight)
      }
    }
    factors = weights.flatMap { $0.weight.named("").map(\.parameter) }
    let known = Set(factors.map { ObjectIdentifier($0) })
    parameters = values.filter { !known.contains(ObjectIdentifier($0.parameter)) }
      .map { (join(path, $0.name), $0.parameter) }
  }

  /// Runs `body` while all values are traced as named constants.
  ///
  /// - Throws: ``ToeplitzError`` that names a buffer which `body` assigns, besides what `body` throws.
  package func traced<Result>(in trace: Trace, _ body: () throws -> Result) throws -> Result {
    let folded = try weights.map { try $0.weight.value }
    let before = parameters.map(\.parameter.value)
    let during = zip(parameters, before).map { trace.weight($1, name: $0.name) }
    defer {
      for ((_, parameter), value) in zip(parameters, before) { parameter.value = value }
      for ((_, weight), value) in zip(weights, folded) { weight.keep(value) }
    }
    for ((_, parameter), value) in zip(parameters, during) { parameter.value = value }
    for ((name, weight), value) in zip(weights, folded) { weight.keep(trace.weight(value, name: name)) }
    let result = try body()
    for ((name, parameter), value) in zip(parameters, during) where !parameter.value.isSameView(as: value) {
      throw ToeplitzError(
        .argument, "compile", expected: "a model that assigns no parameters or buffers (in evaluation mode)",
        got: "a new value of '\(name)'")
    }
    return result
  }

  /// What `forward` does with an input, recorded as it is.
  package func recorded(
    _ input: TensorSpec, _ inputName: String, _ outputName: String, _ forward: (Tensor) throws -> Tensor
  ) throws -> Graph {
    let trace = Trace()
    let x = trace.input(input, name: inputName)
    let y = try trace.during { try traced(in: trace) { try forward(x) } }
    let output = try trace.id(of: y)
    return Graph(trace.close(), outputs: [Graph.Port(name: outputName, value: output)])
  }

  /// The values of all parameters and buffers.
  var tensors: [Tensor] { (parameters.map(\.parameter) + factors).map(\.value) }

  /// Whether `model` still has these parameters, with the values `known`.
  func isUnchanged(_ model: Module, _ known: [Tensor]) -> Bool {
    let now = ModuleValues(model)
    let (mine, theirs) = (parameters.map(\.parameter) + factors, now.parameters.map(\.parameter) + now.factors)
    return mine.count == theirs.count && zip(mine, theirs).allSatisfy { $0 === $1 }
      && zip(now.tensors, known).allSatisfy { $0.isSameView(as: $1) }
  }
}

/// What a model computes in evaluation mode, whatever mode it is in, compiled, while its owner keeps the model.
///
/// It may be used in the task that uses the model. Weights may change between calls, by training or loading: then it is
/// compiled anew. Who puts another module in the place of one calls ``invalidate()``.
///
/// ```swift
/// let compiled = model.compiled()
/// let y = try compiled(x)
/// ```
public final class CompiledModule<Model: Module> {
  /// The model.
  public let model: Model
  private let inputs: [PortDescription]
  private let outputs: [String]
  private let forward: (Model, [Tensor]) throws -> [Tensor]
  private var compiled: (executable: Executable, values: ModuleValues, tensors: [Tensor], changes: Int)?

  /// What `forward` does with a model, compiled when it is first called.
  ///
  /// - Parameters:
  ///   - inputs: what callers give.
  ///   - outputs: the names of what they get.
  ///   - forward: gives the outputs for inputs in the order of `inputs`.
  public init(
    _ model: Model, inputs: [PortDescription], outputs: [String] = ["y"],
    _ forward: @escaping (Model, [Tensor]) throws -> [Tensor]
  ) {
    self.model = model
    self.inputs = inputs
    self.outputs = outputs
    self.forward = forward
  }

  /// The first output.
  ///
  /// - Throws: ``ToeplitzError`` if the inputs do not fit.
  public func callAsFunction(_ inputs: Tensor...) throws -> Tensor { try run(inputs)[0] }

  /// Lets the next call compile the model anew: after another module was put in the place of one, which nothing tells.
  public func invalidate() { compiled = nil }

  /// All outputs.
  ///
  /// - Throws: As ``callAsFunction(_:)``.
  public func run(_ inputs: [Tensor]) throws -> [Tensor] { try withExecutable { try $0.run(inputs) } }

  /// The operations for inputs of the given shapes, before anything is fused.
  ///
  /// - Throws: As ``callAsFunction(_:)``.
  public func graph(for inputs: [TensorSpec]) throws -> Graph { try withExecutable { try $0.graph(for: inputs) } }

  /// The steps of the program for inputs of the given shapes, with what was fused into each.
  ///
  /// - Throws: As ``callAsFunction(_:)``.
  public func loweredGraph(for inputs: [TensorSpec]) throws -> Graph {
    try withExecutable { try $0.loweredGraph(for: inputs) }
  }

  /// What runs in its one task, though its type does not know.
  private struct Confined: @unchecked Sendable {
    var source: any TraceSource
  }

  /// Runs `body`, whose replacing of values by traced ones is no change of the model.
  private func withExecutable<Result>(_ body: (Executable) throws -> Result) throws -> Result {
    let executable = try executable()
    defer { compiled?.changes = ModuleChanges.count }
    return try body(executable)
  }

  package func executable() throws -> Executable {
    if let compiled, compiled.changes == ModuleChanges.count { return compiled.executable }
    if compiled == nil { try model.requireVisibleState() }
    if let known = compiled, known.values.isUnchanged(model, known.tensors) {
      compiled?.changes = ModuleChanges.count
      return known.executable
    }
    let values = ModuleValues(model)
    let source = Confined(source: moduleSource(model, values, inputs: inputs, outputs: outputs, forward))
    let executable = Executable(source.source, name: model.displayName)
    compiled = (executable, values, values.tensors, ModuleChanges.count)
    return executable
  }
}

extension UnaryLayer {
  /// The layer compiled, for the task that uses it.
  public func compiled() -> CompiledModule<Self> {
    CompiledModule(self, inputs: [PortDescription(name: "x")], outputs: ["y"]) { [try $0($1[0])] }
  }
}
