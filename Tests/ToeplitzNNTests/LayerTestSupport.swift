import Testing
import Toeplitz

/// A float32 tensor.
func tensor(_ values: [Float], _ shape: TensorShape) throws -> Tensor { try Tensor(values, shape: shape) }

/// A float32 tensor `[1, 1, L]`.
func signal(_ values: [Float]) throws -> Tensor { try Tensor(values, shape: [1, 1, values.count]) }

/// The numbers 1 … `shape`'s count, as `torch.arange(1, n + 1)`.
func counting(_ shape: TensorShape) throws -> Tensor {
  let count = shape.reduce(1, *)
  return try Tensor.range(from: 1, to: Double(count + 1)).reshaped(shape)
}

extension Tensor {
  /// All elements of a float32 tensor.
  var floats: [Float] { get throws { try scalars(Float.self) } }

  /// Whether the elements are these, NaN being equal to NaN.
  func equals(_ expected: [Float]) throws -> Bool {
    let values = try floats
    return values.count == expected.count
      && zip(values, expected).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) }
  }
}

/// The text of the error that `body` throws; fails the test if it throws none.
func refusal(
  _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> String {
  let error = #expect(throws: ToeplitzError.self, comment, sourceLocation: sourceLocation) { try body() }
  return error?.description ?? ""
}
