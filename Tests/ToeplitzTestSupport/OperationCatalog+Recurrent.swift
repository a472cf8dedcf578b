import ToeplitzTensor

@testable import ToeplitzOps

extension OperationCatalog.Maker {
  mutating func weightNorms() throws -> [OperationSample] {
    try [(0, [4, 3, 2]), (1, [4, 3, 2]), (nil, [2, 3])].map { axis, shape in
      let count = axis.map { shape[$0] } ?? 1
      return OperationSample(
        operation: WeightNormalization(axis: axis), inputs: [try numbers([count]), try numbers(TensorShape(shape))])
    }
  }

  mutating func recurrent() throws -> [OperationSample] {
    var samples: [OperationSample] = []
    let (steps, batch, size) = (4, 3, 2)
    let cells: [Recurrence.Cell] = [
      .simple, .gated(resetsAfter: true), .gated(resetsAfter: false), .memory(couplesGates: false),
      .memory(couplesGates: true),
    ]
    for cell in cells {
      for options in 0..<4 {
        var operation = Recurrence(cell, order: options % 2 == 0 ? .onnx : .pytorch)
        let gates = operation.gateCount
        operation.isReversed = options == 1 || options == 3
        operation.hasBias = options > 0
        operation.hasLengths = options == 3
        operation.hasInitialState = options > 1
        operation.hasPeepholes = operation.hasCell && options == 2
        operation.hasProjection = operation.hasCell && options == 1
        operation.clip = options == 2 ? 3 : nil
        let width = operation.hasProjection ? 1 : size
        var inputs = [
          try numbers([steps, batch, gates * size], -1...1), try numbers([gates * size, width], -1...1),
        ]
        if operation.hasBias { inputs.append(try numbers([gates * size], -1...1)) }
        if operation.hasLengths { inputs.append(try Tensor([Int64(4), 1, 3], shape: nil, device: .cpu)) }
        if operation.hasPeepholes { inputs.append(try numbers([3 * size], -1...1)) }
        if operation.hasProjection { inputs.append(try numbers([width, size], -1...1)) }
        if operation.hasInitialState {
          inputs.append(try numbers([batch, width], -1...1))
          if operation.hasCell { inputs.append(try numbers([batch, size], -1...1)) }
        }
        samples.append(.init(operation: operation, inputs: inputs))
      }
    }
    return samples
  }
}
