import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension MatrixMultiply: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let (aShape, bShape) = try matrices(inputs[0].shape, inputs[1].shape)
    let (rows, inner, columns) = (aShape[aShape.rank - 2], aShape[aShape.rank - 1], bShape[bShape.rank - 1])
    let batch = try Shape.broadcast(Shape(aShape.dropLast(2)), Shape(bShape.dropLast(2)), operation: name)
    let count = try batch.elementCount(name)
    guard rows > 0, inner > 0, columns > 0, count > 0 else {
      return [try Tensor.zeros(outputs[0].shape, dtype: outputs[0].dtype)]
    }
    if aShape.rank == 2 {
      // One left matrix for all: its rows are packed once and the batch is the convolution's.
      let x = try inputs[1].reshaped(bShape).expanded(to: Shape(batch.dimensions + [inner, columns]))
        .reshaped([count, inner, columns])
      let y = try conv1d(x, inputs[0].reshaped([rows, inner, 1]))
      return [try y.reshaped(outputs[0].shape)]
    }
    let a = try inputs[0].reshaped(aShape).expanded(to: Shape(batch.dimensions + [rows, inner]))
      .reshaped([count, rows, inner, 1])
    let b = try inputs[1].reshaped(bShape).expanded(to: Shape(batch.dimensions + [inner, columns]))
      .reshaped([count, inner, columns])
    let products = try (0..<count).map { index in
      try conv1d(b.slice(axis: 0, index..<(index + 1)), a.select(axis: 0, index))
    }
    return [try Tensor.concatenated(products).reshaped(outputs[0].shape)]
  }
}
