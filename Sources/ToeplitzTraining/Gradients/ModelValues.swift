import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The parameters and buffers of models, which other values take the place of while a computation is recorded.
struct ModelValues {
  /// The floating-point parameters, each once.
  let parameters: [(name: String, parameter: Parameter)]
  /// The buffers, each once.
  let buffers: [(name: String, parameter: Parameter)]
  /// Weights that are computed from other parameters, and keep what was computed.
  private let products: [LayerWeight]
  private let modules: [Module]

  /// Walks models, which also tells their modules their paths; names of several models begin with their numbers.
  init(_ models: [Module]) {
    var seen: Set<ObjectIdentifier> = []
    func named(_ index: Int, _ name: String) -> String { models.count == 1 ? name : "\(index).\(name)" }
    var (parameters, buffers): ([(String, Parameter)], [(String, Parameter)]) = ([], [])
    for (index, model) in models.enumerated() {
      for (name, parameter) in model.namedParameters()
      where parameter.value.dtype.isFloatingPoint && seen.insert(ObjectIdentifier(parameter)).inserted {
        parameters.append((named(index, name), parameter))
      }
      for (name, buffer) in model.namedBuffers() where seen.insert(ObjectIdentifier(buffer)).inserted {
        buffers.append((named(index, name), buffer))
      }
    }
    self.parameters = parameters.map { (name: $0.0, parameter: $0.1) }
    self.buffers = buffers.map { (name: $0.0, parameter: $0.1) }
    products = models.flatMap { $0.composedWeights() }
    modules = models.flatMap { $0.namedModules().map(\.module) }
  }

  /// Which modules are in training mode.
  var modes: [Bool] { modules.map(\.isTraining) }

  /// Forgets the products of directions and lengths, which may be of values that are no longer in place.
  func forgetProducts() { for product in products { product.forgetProduct() } }

  private func put(_ values: [Tensor]) {
    Assignments.unnoted { for ((_, parameter), value) in zip(parameters, values) { parameter.value = value } }
  }

  /// Runs `body` while the parameters have other values, then gives them their own again.
  ///
  /// What `body` assigns to buffers, of these models or of others, is taken back too and returned; a parameter may not be
  /// assigned.
  func replacingParameters<Result>(
    by values: [Tensor], _ body: () throws -> Result
  ) throws -> (result: Result, buffers: [(parameter: Parameter, value: Tensor)]) {
    let own = parameters.map(\.parameter.value)
    let assignments = Assignments()
    defer {
      assignments.takeBack()
      put(own)
      forgetProducts()
    }
    put(values)
    let result = try Assignments.$current.withValue(assignments, operation: body)
    for ((name, parameter), value) in zip(parameters, values) where !parameter.value.isSameView(as: value) {
      throw ToeplitzError(
        .argument, "valueAndGradient", expected: "a function that assigns no parameters",
        got: "a new value of '\(name)'")
    }
    return (result, assignments.assigned)
  }
}
