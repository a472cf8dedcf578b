@testable import ToeplitzOps
import ToeplitzTensor

extension OperationCatalog.Maker {
  /// What gradients and steps of training are made of.
  mutating func training() throws -> [OperationSample] {
    [
      .init(operation: StopGradient(), inputs: [try numbers([2, 3])]),
      .init(operation: Recomputed(segment: 1), inputs: [try numbers([2, 3])]),
      .init(
        operation: ChannelProducts(), inputs: [try numbers([2, 3, 4]), try numbers([2, 3, 4]), try numbers([3])]),
      .init(operation: CounterUniform(shape: [2, 3], draw: 1), inputs: [try Tensor(scalar: Int64(7))]),
    ]
  }
}
