import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The exponential moving average of a model's parameters, often better than the last ones (Polyak and Juditsky, 1992).
///
/// After `torch.optim.swa_utils.get_ema_multi_avg_fn`: the first update takes the parameters as they are.
public final class ExponentialMovingAverage {
  /// How much of the average stays at each update.
  public let decay: Double
  private let model: Module
  private var averages: [ObjectIdentifier: Tensor] = [:]

  /// The average of a model's parameters, which begins with the next ``update()``.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if `decay` is not in 0...1.
  public init(_ model: Module, decay: Double = 0.999) throws {
    guard (0...1).contains(decay) else {
      throw ToeplitzError(.argument, "ExponentialMovingAverage", expected: "a decay in 0...1", got: "\(decay)")
    }
    (self.model, self.decay) = (model, decay)
  }

  /// Takes the parameters as they are now into the average.
  public func update() throws {
    for (_, parameter) in ModelValues([model]).parameters {
      let id = ObjectIdentifier(parameter)
      averages[id] = try averages[id].map { try $0.interpolated(to: parameter.value, 1 - decay) } ?? parameter.value
    }
  }

  /// Runs `body` while the model has the averages for its parameters; buffers stay.
  public func withAverages<Result>(_ body: () throws -> Result) rethrows -> Result {
    let parameters = ModelValues([model]).parameters.map(\.parameter)
    let own = parameters.map(\.value)
    defer { for (parameter, value) in zip(parameters, own) { parameter.value = value } }
    for parameter in parameters { if let average = averages[ObjectIdentifier(parameter)] { parameter.value = average } }
    return try body()
  }

  /// The averages by the names of the parameters.
  public func stateDictionary() -> [String: Tensor] {
    var state: [String: Tensor] = [:]
    for (name, parameter) in ModelValues([model]).parameters { state[name] = averages[ObjectIdentifier(parameter)] }
    return state
  }

  /// Takes over what ``stateDictionary()`` gave.
  ///
  /// - Throws: ``ToeplitzError`` of kind `checkpoint` that names an average which is not like its parameter, or unknown.
  public func load(_ state: [String: Tensor]) throws {
    var unused = state
    var loaded: [ObjectIdentifier: Tensor] = [:]
    for (name, parameter) in ModelValues([model]).parameters {
      guard let value = unused.removeValue(forKey: name) else { continue }
      guard value.spec == parameter.value.spec else {
        throw ToeplitzError(
          .checkpoint, "ExponentialMovingAverage", expected: "'\(name)' \(parameter.value.spec)", got: "\(value.spec)")
      }
      loaded[ObjectIdentifier(parameter)] = value
    }
    if let unknown = unused.keys.sorted().first {
      throw ToeplitzError(
        .checkpoint, "ExponentialMovingAverage", expected: "averages of the model's parameters", got: "'\(unknown)'")
    }
    averages = loaded
  }
}
