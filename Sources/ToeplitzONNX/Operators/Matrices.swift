import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let matrices: [String: OperatorMaker] = [
    "MatMul": { _ in { [try $0(0).matmul($0(1))] } },
    "Gemm": { node in
      let (alpha, beta) = (try node.float("alpha", 1), try node.float("beta", 1))
      let (turnsA, turnsB) = (try node.flag("transA"), try node.flag("transB"))
      return { x in
        let (left, right) = (try x(0), try x(1))
        guard left.rank == 2, right.rank == 2 else {
          throw x.refuse(.shape, "two matrices", got: "\(left.shape) and \(right.shape)")
        }
        let a = try turnsA ? left.transposed(0, 1) : left
        let b = try turnsB ? right.transposed(0, 1) : right
        let c = x.optional(2)
        var product = try a.matmul(b)
        if alpha != 1 { product = try product * alpha }
        guard let c, beta != 0 else { return [product] }
        let sum = try product + (beta == 1 ? c : c * beta)
        guard sum.shape == product.shape else {
          throw x.refuse(.shape, "a C that broadcasts to \(product.shape)", got: "\(c.shape)")
        }
        return [sum]
      }
    },
    "MatMulInteger": { _ in { x in [try x(0).integerProduct(x.optional(2), x(1), x.optional(3))] } },
    "QLinearMatMul": { _ in
      { x in
        let sums = try x(0).integerProduct(x(2), x(3), x(5))
        return [try sums.requantized(factor: x(1) * x(4) / x(6), zeroPoint: x(7))]
      }
    },
    "Einsum": { node in
      let equation = try Einsum(node.string("equation", ""))
      return { [try equation.evaluate($0.all())] }
    },
    "Det": { node in
      { x in
        let input = try x(0)
        guard input.rank >= 2, input.shape[input.rank - 1] == input.shape[input.rank - 2] else {
          throw x.refuse(.shape, "square matrices", got: "shape \(input.shape)")
        }
        let side = input.shape[input.rank - 1]
        let numbers = try input.cast(to: .float64).scalars(Double.self)
        let count = side == 0 ? 0 : numbers.count / (side * side)
        let results = (0..<count).map {
          determinant(Array(numbers[($0 * side * side)..<(($0 + 1) * side * side)]), side)
        }
        return [try Tensor(results, shape: TensorShape(input.shape.dropLast(2)), device: .cpu).cast(to: input.dtype)]
      }
    },
  ]
}

/// The determinant by elimination with the largest pivot.
private func determinant(_ matrix: [Double], _ side: Int) -> Double {
  var (m, result) = (matrix, 1.0)
  for column in 0..<side {
    var pivot = column
    for row in column..<side where abs(m[row * side + column]) > abs(m[pivot * side + column]) { pivot = row }
    guard m[pivot * side + column] != 0 else { return 0 }
    if pivot != column {
      for i in 0..<side { m.swapAt(pivot * side + i, column * side + i) }
      result = -result
    }
    result *= m[column * side + column]
    for row in (column + 1)..<max(side, column + 1) {
      let factor = m[row * side + column] / m[column * side + column]
      for i in column..<side { m[row * side + i] -= factor * m[column * side + i] }
    }
  }
  return result
}

extension Tensor {
  /// The product of whole numbers, each less its zero point, as int32.
  func integerProduct(_ zeroPoint: Tensor?, _ other: Tensor, _ otherZeroPoint: Tensor?) throws -> Tensor {
    try centeredRows(zeroPoint, axis: rank - 2)
      .matmul(other.centeredRows(otherZeroPoint, axis: other.rank - 1))
  }

  /// Whole numbers less their zero point as int32; a vector of zero points stands along `axis`.
  fileprivate func centeredRows(_ zeroPoint: Tensor?, axis: Int) throws -> Tensor {
    guard let zeroPoint, zeroPoint.rank > 1 else { return try centered(zeroPoint, axis: Swift.max(0, axis)) }
    return try cast(to: .int32) - zeroPoint.cast(to: .int32)
  }
}

// MARK: Export

extension MatrixMultiply: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    [ExportNode("MatMul", [.input(0), .input(1)])]
  }
}
