import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// What happens where a number or a gradient is NaN or infinite.
public enum NonFinitePolicy: String, Sendable, CaseIterable {
  /// Nothing: it is returned as it is.
  case ignore
  /// An error that names the first operation and layer which gives such a number.
  case `throw`
}

/// What ``differentiate(_:at:strict:onNonFinite:operation:_:)`` gives.
struct Differentiated {
  var value: Tensor
  var outputs: [Tensor]
  /// For each parameter, then for each tensor; nil where the value does not depend on it.
  var gradients: [Tensor?]
}

/// The value of a function and its gradient with respect to parameters and tensors.
func differentiate(
  _ values: ModelValues, at tensors: [Tensor], strict: Bool, onNonFinite: NonFinitePolicy, operation: String,
  _ function: ([Tensor]) throws -> (value: Tensor, outputs: [Tensor])
) throws -> Differentiated {
  let given = values.parameters.map(\.parameter.value) + tensors
  if let trace = Trace.running ?? Trace.recording(given) {
    return try trace.during {
      try differentiate(values, given, strict: strict, operation: operation, inside: trace, function)
    }
  }
  let trace = Trace()
  let names = values.parameters.map(\.name) + tensors.indices.map { "input \($0)" }
  let inputs = try zip(given, names).map { tensor, name in
    trace.input(tensor.spec, name: name, value: try tensor.aligned())
  }
  let recorded = try trace.during {
    try record(values, inputs, strict: strict, operation: operation, in: trace, function)
  }
  var wanted = [recorded.value] + recorded.outputs
  wanted += recorded.gradients.compactMap { $0 }
  wanted += recorded.buffers.map(\.value)
  let recording = try Recording(trace, outputs: wanted)
  var results = try recording.run(given)[...]
  let value = results.removeFirst()
  let outputs = recorded.outputs.map { _ in results.removeFirst() }
  let gradients = recorded.gradients.map { $0.map { _ in results.removeFirst() } }
  if onNonFinite == .throw, try ([value] + gradients.compactMap { $0 }).contains(where: { try $0.hasNonFinite() }) {
    throw try refusal(recording, given, zip(names, gradients), value, operation)
  }
  for (buffer, _) in recorded.buffers { buffer.value = results.removeFirst() }
  return Differentiated(value: value, outputs: outputs, gradients: gradients)
}

/// As part of a trace that is running: parameters are seen through operations that change nothing, so that the inner gradient
/// stops there and the outer one goes on.
private func differentiate(
  _ values: ModelValues, _ given: [Tensor], strict: Bool, operation: String, inside trace: Trace,
  _ function: ([Tensor]) throws -> (value: Tensor, outputs: [Tensor])
) throws -> Differentiated {
  let first = trace.nodeCount
  let names = values.parameters.map(\.name)
  let aliases = try given.enumerated().map { index, tensor in
    let traced = trace.weight(tensor, name: index < names.count ? names[index] : "input \(index - names.count)")
    return try traced.reshaped(traced.shape)
  }
  let recorded = try record(values, aliases, strict: strict, operation: operation, in: trace, since: first, function)
  for (buffer, value) in recorded.buffers { buffer.value = value }
  return Differentiated(value: recorded.value, outputs: recorded.outputs, gradients: recorded.gradients)
}

private struct Recorded {
  var value: Tensor
  var outputs: [Tensor]
  var gradients: [Tensor?]
  var buffers: [(parameter: Parameter, value: Tensor)]
}

/// Records a function of `inputs`, which are parameters and tensors, with its derivatives.
private func record(
  _ values: ModelValues, _ inputs: [Tensor], strict: Bool, operation: String, in trace: Trace, since first: Int = 0,
  _ function: ([Tensor]) throws -> (value: Tensor, outputs: [Tensor])
) throws -> Recorded {
  let count = values.parameters.count
  let (result, buffers) = try values.replacingParameters(by: Array(inputs.prefix(count))) {
    try function(Array(inputs.dropFirst(count)))
  }
  let value = result.value
  guard value.count == 1, value.dtype.isFloatingPoint else {
    throw ToeplitzError(
      .shape, operation, expected: "a function that gives one floating-point number (such as a mean)",
      got: "\(value.spec)")
  }
  let one = try Tensor.ones(value.shape, dtype: value.dtype)
  let gradients = try trace.cotangents(of: [(value: value, cotangent: one)], wrt: inputs, since: first)
  let missing = zip(values.parameters, gradients).filter { $1 == nil }.map(\.0.name)
  guard !strict || missing.isEmpty else {
    throw ToeplitzError(
      .argument, operation, expected: "a value that depends on all parameters",
      got: "one that does not depend on " + list(missing))
  }
  guard count == 0 || missing.count < count || gradients.dropFirst(count).contains(where: { $0 != nil }) else {
    throw ToeplitzError(
      .argument, operation, expected: "a value that depends on a parameter", got: "one that depends on none")
  }
  return Recorded(value: value, outputs: result.outputs, gradients: gradients, buffers: buffers)
}

/// Some names, not all of hundreds.
func list(_ names: [String]) -> String {
  let shown = names.prefix(8).map { "'\($0)'" }.joined(separator: ", ")
  return names.count > 8 ? shown + " and \(names.count - 8) more" : shown
}

/// The error that tells where numbers stop being finite.
private func refusal(
  _ recording: Recording, _ inputs: [Tensor], _ gradients: some Sequence<(String, Tensor?)>, _ value: Tensor,
  _ operation: String
) throws -> ToeplitzError {
  let names = try gradients.filter { try $1?.hasNonFinite() ?? false }.map(\.0)
  let what = try value.hasNonFinite() ? "a value that is not" : "gradients of \(list(names)) that are not"
  guard let first = try recording.firstNonFinite(inputs) else {
    return ToeplitzError(.argument, operation, expected: "a finite value and gradient", got: what)
  }
  return ToeplitzError(
    .argument, operation, expected: "a finite value and gradient",
    got: "\(what); the first operation with such a result is \(first.operation)", path: first.path)
}
