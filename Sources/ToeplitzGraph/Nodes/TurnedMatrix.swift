import ToeplitzTensor

/// Keeps the transpose of the last matrix it was asked for, so that prepared weights made of it stay right.
final class TurnedMatrix: Sendable {
  private let kept = Lock<(source: Tensor, turned: Tensor)?>(nil)

  /// The contiguous transpose of a matrix.
  func value(of matrix: Tensor) throws -> Tensor {
    try kept.withLock { kept in
      if let kept, kept.source.isSameView(as: matrix) { return kept.turned }
      let turned = try matrix.transposed(0, 1).contiguous()
      kept = (matrix, turned)
      return turned
    }
  }
}
