import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// A number that a function of models gives, and its gradient with respect to their parameters.
///
/// ```swift
/// let (loss, gradients) = try valueAndGradient(of: model) { model in try mse(model(x), y) }
/// try optimizer.update(model, with: gradients)
/// ```
///
/// `function` runs once, on parameters that are traced; what it computes is recorded with its derivatives and computed when it has
/// returned. It may look at shapes, and at elements of what it computes, which are computed then. Buffers that layers assign,
/// such as the running statistics of batch normalisation, are set once, when all has been computed; if anything throws, nothing
/// has changed. Calls may be nested: an inner gradient is a value that the outer one can be taken of.
///
/// - Parameters:
///   - models: the models; their names begin with their number if there are several.
///   - strict: whether a parameter that the number does not depend on is an error.
///   - onNonFinite: what happens if the number or a gradient is NaN or infinite.
///   - function: gives one floating-point number.
/// - Returns: The number, a tensor of one element, and the gradient.
/// - Throws: ``ToeplitzError`` that names operation and layer if the number depends on a parameter through an operation that has no
///   gradient; if it depends on no parameter, or in strict mode not on all, with their names; and what `function` throws.
public func valueAndGradient<each Model: Module>(
  of models: repeat each Model, strict: Bool = false, onNonFinite: NonFinitePolicy = .ignore,
  _ function: (repeat each Model) throws -> Tensor
) throws -> (value: Tensor, gradients: Gradients) {
  let result = try valueAndGradient(of: repeat each models, strict: strict, onNonFinite: onNonFinite) {
    (models: repeat each Model) in (value: try function(repeat each models), outputs: [])
  }
  return (result.value, result.gradients)
}

/// The same for a function that gives other tensors besides the number, such as predictions, which are computed too.
///
/// - Returns: The number, the other tensors and the gradient of the number.
/// - Throws: As `valueAndGradient(of:strict:onNonFinite:_:)`.
public func valueAndGradient<each Model: Module>(
  of models: repeat each Model, strict: Bool = false, onNonFinite: NonFinitePolicy = .ignore,
  _ function: (repeat each Model) throws -> (value: Tensor, outputs: [Tensor])
) throws -> (value: Tensor, outputs: [Tensor], gradients: Gradients) {
  var list: [Module] = []
  for model in repeat each models { list.append(model) }
  let values = ModelValues(list)
  let found = try differentiate(
    values, at: [], strict: strict, onNonFinite: onNonFinite, operation: "valueAndGradient"
  ) { _ in
    try function(repeat each models)
  }
  return (found.value, found.outputs, Gradients(values.parameters, found.gradients))
}

/// The gradient of a number that a function of tensors gives; zeros for tensors that it does not depend on.
///
/// - Parameter tensors: floating-point tensors, which `function` gets in their order.
/// - Throws: As `valueAndGradient(of:strict:onNonFinite:_:)`.
public func gradient(at tensors: [Tensor], _ function: ([Tensor]) throws -> Tensor) throws -> [Tensor] {
  try valueAndGradient(at: tensors, function).gradients
}

/// A number that a function of tensors gives, and its gradient; zeros for tensors that it does not depend on.
///
/// - Parameter tensors: floating-point tensors, which `function` gets in their order.
/// - Throws: As `valueAndGradient(of:strict:onNonFinite:_:)`.
public func valueAndGradient(
  at tensors: [Tensor], _ function: ([Tensor]) throws -> Tensor
) throws -> (value: Tensor, gradients: [Tensor]) {
  try requireFloatingPoint(tensors, "gradient")
  let found = try differentiate(
    ModelValues([]), at: tensors, strict: false, onNonFinite: .ignore, operation: "gradient"
  ) {
    (value: try function($0), outputs: [])
  }
  let gradients = try zip(tensors, found.gradients).map { try $1 ?? Tensor.zeros($0.shape, dtype: $0.dtype) }
  return (found.value, gradients)
}

/// The results of a function of tensors, and the products of given cotangents with its Jacobian matrix.
///
/// - Parameters:
///   - tensors: floating-point tensors, which `function` gets in their order.
///   - cotangents: one like each result, given the results.
/// - Returns: The results, and for each of `tensors` a tensor like it.
/// - Throws: As `valueAndGradient(of:strict:onNonFinite:_:)`, and if a cotangent is not like its result.
public func vjp(
  at tensors: [Tensor], _ function: ([Tensor]) throws -> [Tensor], cotangents: ([Tensor]) throws -> [Tensor]
) throws -> (results: [Tensor], gradients: [Tensor]) {
  try requireFloatingPoint(tensors, "vjp")
  let found = try differentiate(
    ModelValues([]), at: tensors, strict: false, onNonFinite: .ignore, operation: "vjp"
  ) { inputs -> (value: Tensor, outputs: [Tensor]) in
    let results = try function(inputs)
    let given = try cotangents(results)
    guard given.map(\.spec) == results.map(\.spec) else {
      throw ToeplitzError(
        .shape, "vjp", expected: "cotangents like the results \(results.map(\.spec))", got: "\(given.map(\.spec))")
    }
    // ⟨results, cotangents⟩ has the wanted products as its gradient; what cotangents depend on is no part of it.
    let products = try zip(results, given).map { try ($0 * $1.stopGradient()).sum().cast(to: .float64) }
    let zero = try Tensor.zeros([], dtype: .float64)
    return (value: try products.reduce(zero) { try $0 + $1 }, outputs: results)
  }
  let gradients = try zip(tensors, found.gradients).map { try $1 ?? Tensor.zeros($0.shape, dtype: $0.dtype) }
  return (found.outputs, gradients)
}

private func requireFloatingPoint(_ tensors: [Tensor], _ operation: String) throws {
  for (index, tensor) in tensors.enumerated() where !tensor.dtype.isFloatingPoint {
    throw ToeplitzError(
      .dtype, operation, expected: "floating-point tensors", got: "a \(tensor.dtype) tensor at \(index)")
  }
}
