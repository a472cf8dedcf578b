import Toeplitz
import ToeplitzTraining

/// Three clouds of points, which small networks learn to tell apart.
enum Clouds {
  /// Points around the clouds' centres in turn; batches get some more noise.
  ///
  /// - Parameter noise: where each point lies from its centre, `[N, 4]`.
  static func dataset(_ noise: Tensor) throws -> TensorDataset {
    let count = noise.shape[0]
    let labels = (0..<count).map { Int64($0 % 3) }
    let centres = try Tensor(labels.flatMap { [Float($0) * 3 - 3, Float($0 % 2) * 4, 0, 0] }, shape: [count, 4])
    return try TensorDataset([noise + centres, try Tensor(labels)]) { batch, random in
      [try batch[0] + Tensor.randomNormal(batch[0].shape, standardDeviation: 0.1, using: &random), batch[1]]
    }
  }

  /// The share of points that a model puts into their clouds, as validation gives it.
  static func accuracy(_ model: some UnaryLayer, _ data: TensorDataset) throws -> [String: Double] {
    let guesses = try model(data.tensors[0]).argmax(axis: 1).scalars(Int64.self)
    let right = zip(guesses, try data.tensors[1].scalars(Int64.self)).filter { $0 == $1 }.count
    return ["accuracy": Double(right) / Double(data.count)]
  }
}
