import Testing
import Toeplitz

// Made by Tests/Fixtures/expressions/generate.py, which has the expressions and computes the values with NumPy.

/// Expressions as people write them, and the values that NumPy gives.
@Suite struct ExpressionTests {
  private let x: Tensor
  private let m: Tensor = [[1, -2], [3, 4]]
  private let v: Tensor = [1, 2, 3]
  private let i: Tensor
  private let b: Tensor = [true, false, true]
  private let n = 2

  init() throws {
    x = try (Tensor.range(to: 24).reshaped(2, 3, 4) - 11.5) / 4
    i = try Tensor([7, -7, 12] as [Int])
  }

  private func check(
    _ shape: [Int], _ values: [Double], line: Int = #line, column: Int = #column, _ expression: () throws -> Tensor
  ) throws {
    let result = try expression()
    let place = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: column)
    #expect(result.shape == TensorShape(shape), sourceLocation: place)
    let got = try result.cast(to: .float64).scalars(of: Double.self)
    guard got.count == values.count else { return }
    for (a, b) in zip(got, values) where a != b && !(abs(a - b) <= 1e-6 * max(1, abs(b))) {
      Issue.record("\(a) instead of \(b)", sourceLocation: place)
      return
    }
  }

  @Test func valuesAreThoseOfNumPy1() throws {
    try check(
      [3, 4], [-2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125]
    ) { try x[0] }
    try check([3, 4], [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875]) {
      try x[-1]
    }
    try check([], [2.875]) { try x[1, 2, 3] }
    try check([4], [-1.875, -1.625, -1.375, -1.125]) { try x[0, 1] }
    try check([2, 2], [-2.375, -2.125, 0.625, 0.875]) { try x[0..., 0, (-2)...] }
    try check(
      [1, 3, 4], [-2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125]
    ) { try x[0..<1] }
    try check(
      [2, 2, 4],
      [
        -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625,
        2.875,
      ]
    ) { try x[0..., 1...2] }
    try check(
      [2, 2, 4],
      [
        -2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625,
        1.875,
      ]
    ) { try x[0..., ..<2] }
    try check(
      [2, 2, 4],
      [
        -2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625,
        1.875,
      ]
    ) { try x[0..., ...1] }
    try check([2, 3], [-2.875, -1.875, -0.875, 0.125, 1.125, 2.125]) { try x[.ellipsis, 0] }
  }

  @Test func valuesAreThoseOfNumPy2() throws {
    try check(
      [2, 3, 3],
      [
        -2.875, -2.625, -2.375, -1.875, -1.625, -1.375, -0.875, -0.625, -0.375, 0.125, 0.375, 0.625, 1.125, 1.375,
        1.625, 2.125, 2.375, 2.625,
      ]
    ) { try x[.ellipsis, ..<(-1)] }
    try check(
      [3, 4], [-2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125]
    ) { try x[0, .ellipsis] }
    try check([3, 2], [0.375, 0.625, 1.375, 1.625, 2.375, 2.625]) { try x[1, 0..., (-3)..<(-1)] }
    try check(
      [2, 3, 3],
      [
        -2.875, -2.625, -2.375, -1.875, -1.625, -1.375, -0.875, -0.625, -0.375, 0.125, 0.375, 0.625, 1.125, 1.375,
        1.625, 2.125, 2.375, 2.625,
      ]
    ) { try x[.ellipsis, ...(-2)] }
    try check(
      [2, 3, 4],
      [
        -2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125, 0.125, 0.375,
        0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875,
      ]
    ) { try x[.ellipsis, 0..<99] }
    try check(
      [2, 3, 4],
      [
        0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875, -2.875, -2.625, -2.375,
        -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125,
      ]
    ) { try x[.slice(by: -1)] }
    try check([2, 3, 2], [-2.875, -2.375, -1.875, -1.375, -0.875, -0.375, 0.125, 0.625, 1.125, 1.625, 2.125, 2.625]) {
      try x[.ellipsis, .slice(by: 2)]
    }
    try check([2, 3, 1], [-2.625, -1.625, -0.625, 0.375, 1.375, 2.375]) {
      try x[.ellipsis, .slice(from: 1, to: -1, by: 2)]
    }
    try check([2, 3, 2], [-2.125, -2.625, -1.125, -1.625, -0.125, -0.625, 0.875, 0.375, 1.875, 1.375, 2.875, 2.375]) {
      try x[.ellipsis, .slice(from: -1, to: 0, by: -2)]
    }
    try check(
      [2, 3, 4],
      [
        -2.125, -2.375, -2.625, -2.875, -1.125, -1.375, -1.625, -1.875, -0.125, -0.375, -0.625, -0.875, 0.875, 0.625,
        0.375, 0.125, 1.875, 1.625, 1.375, 1.125, 2.875, 2.625, 2.375, 2.125,
      ]
    ) { try x[.ellipsis, .slice(from: 3, by: -1)] }
  }

  @Test func valuesAreThoseOfNumPy3() throws {
    try check(
      [1, 3, 4], [-2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125]
    ) { try x[.newAxis, 0] }
    try check([3, 1], [1, 2, 3]) { try v[0..., .newAxis] }
    try check([1, 3], [1, 2, 3]) { try v[.newAxis] }
    try check(
      [2, 2, 4],
      [
        -0.875, -0.625, -0.375, -0.125, -2.875, -2.625, -2.375, -2.125, 2.125, 2.375, 2.625, 2.875, 0.125, 0.375, 0.625,
        0.875,
      ]
    ) { try x[0..., [2, 0]] }
    try check([2, 3, 1], [-2.125, -1.125, -0.125, 0.875, 1.875, 2.875]) { try x[.ellipsis, [-1]] }
    try check(
      [2, 2, 4],
      [
        -2.875, -2.625, -2.375, -2.125, -0.875, -0.625, -0.375, -0.125, 0.125, 0.375, 0.625, 0.875, 2.125, 2.375, 2.625,
        2.875,
      ]
    ) { try x[0..., b] }
    try check([6], [1.625, 1.875, 2.125, 2.375, 2.625, 2.875]) { try x[x > 1.5] }
    try check([3], [-2.375, -1.375, -0.375]) { try x[0, 0..., n] }
    try check([1], [-2]) { try m[m < 0] }
    try check([2, 2], [2, -4, 6, 8]) { try m + m }
  }

  @Test func valuesAreThoseOfNumPy4() throws {
    try check([2, 2], [2, -1, 4, 5]) { try m + 1 }
    try check([2, 2], [0, 3, -2, -3]) { try 1 - m }
    try check([2, 2], [1.5, -4.5, 5.5, 7.5]) { try 2 * m - 0.5 }
    try check([2, 2], [0.25, -0.5, 0.75, 1]) { try m / 4 }
    try check([3], [1, 0.5, 0.3333333432674408]) { try 1 / v }
    try check([2, 2], [-1, 2, -3, -4]) { try -m }
    try check([3], [2, 4, 6]) { try n * v }
    try check([3], [3, 4, 5]) { try v + Float(n) }
    try check([2, 2], [10, -200, 30, 400]) { try m * [10, 100] }
    try check([3], [2, 3, 2]) { try i % 5 }
  }

  @Test func valuesAreThoseOfNumPy5() throws {
    try check([3], [20, -22, 35]) { try i * 3 - 1 }
    try check([2, 2], [0, 0, 1, 0]) { try m == 3 }
    try check([2, 2], [0, 1, 1, 0]) { try m != m.transposed(0, 1) }
    try check([2, 2], [1, 0, 1, 1]) { try m >= 1 }
    try check([2, 2], [1, 1, 0, 0]) { try (m > -3) & (m < 3) }
    try check([3], [0, 1, 1]) { try ~b | (v > 2) }
    try check([], [6]) { try m.sum() }
    try check([2, 4], [-5.625, -4.875, -4.125, -3.375, 3.375, 4.125, 4.875, 5.625]) { try x.sum(axis: 1) }
    try check([2, 3, 1], [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]) { try x.mean(axis: -1, keepsAxis: true) }
    try check([3, 4], [0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875]) {
      try x.max(axis: 0)
    }
  }

  @Test func valuesAreThoseOfNumPy6() throws {
    try check([2, 3], [3, 3, 3, 3, 3, 3]) { try x.argmax(axis: 2) }
    try check([2, 3], [0.078125, 0.078125, 0.078125, 0.078125, 0.078125, 0.078125]) {
      try x.variance(axis: 2, correction: 0)
    }
    try check([2, 2], [-5, -10, 15, 10]) { try matmul(m, m) }
    try check(
      [2, 3, 3],
      [
        25.3125, 15.3125, 5.3125, 15.3125, 9.3125, 3.3125, 5.3125, 3.3125, 1.3125, 1.3125, 3.3125, 5.3125, 3.3125,
        9.3125, 15.3125, 5.3125, 15.3125, 25.3125,
      ]
    ) { try matmul(x, x.transposed(1, 2)) }
    try check([3], [3.4798760414123535, 8.752396583557129, 21.809022903442383]) { try exp(v) + tanh(v) * sqrt(v) }
    try check([3], [1, 3.3068528175354004, 7.901387691497803]) { try pow(v, 2) - log(v) }
    try check([2, 2], [1.8414709568023682, 1.0907025337219238, 3.141119956970215, 3.243197441101074]) {
      try abs(m) + sin(m)
    }
    try check([2, 2], [1, 0, 3, 4]) { try maximum(m, 0) }
    try check([2, 2], [1, -1, 3, 3]) { try clip(m, -1, 3) }
    try check([2, 2], [1, 0, 3, 4]) { try Tensor.where(m > 0, m, 0) }
  }

  @Test func valuesAreThoseOfNumPy7() throws {
    try check(
      [2, 3, 4],
      [
        0.16529618203639984, 0.21224449574947357, 0.2725273072719574, 0.3499320149421692, 0.16529618203639984,
        0.21224449574947357, 0.2725273072719574, 0.3499320149421692, 0.16529618203639984, 0.21224449574947357,
        0.2725273072719574, 0.3499320149421692, 0.16529618203639984, 0.21224449574947357, 0.2725273072719574,
        0.3499320149421692, 0.16529618203639984, 0.21224449574947357, 0.2725273072719574, 0.3499320149421692,
        0.16529618203639984, 0.21224449574947357, 0.2725273072719574, 0.3499320149421692,
      ]
    ) { try softmax(x, axis: -1) }
    try check([2, 4], [1, -2, 2, -1, 3, 4, 4, 5]) { try concatenate([m, m + 1], axis: 1) }
    try check([2, 3], [1, 2, 3, 2, 4, 6]) { try stack([v, v * 2]) }
    try check(
      [6, 4],
      [
        -2.875, -2.625, -2.375, -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125, 0.125, 0.375,
        0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875,
      ]
    ) { try x.reshaped(6, -1) }
    try check(
      [4, 2, 3],
      [
        -2.875, -1.875, -0.875, 0.125, 1.125, 2.125, -2.625, -1.625, -0.625, 0.375, 1.375, 2.375, -2.375, -1.375,
        -0.375, 0.625, 1.625, 2.625, -2.125, -1.125, -0.125, 0.875, 1.875, 2.875,
      ]
    ) { try x.permuted(2, 0, 1) }
    try check([2, 3], [1, 2, 3, 1, 2, 3]) { try v.expanded(to: [2, 3]) }
    try check(
      [2, 3, 4],
      [
        0.125, 0.375, 0.625, 0.875, 1.125, 1.375, 1.625, 1.875, 2.125, 2.375, 2.625, 2.875, -2.875, -2.625, -2.375,
        -2.125, -1.875, -1.625, -1.375, -1.125, -0.875, -0.625, -0.375, -0.125,
      ]
    ) { try Tensor.stack(x.rows().reversed()) }
    try check([2, 2], [2, 0, 6, 8]) { try Tensor([[1, 2], [3, 4]]) + m }
    try check([2, 3], [0, 1, 2, 3, 4, 5]) { try Tensor(0..<6).reshaped(2, 3) }
    try check([2, 3, 4], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]) {
      try (x - x.mean(axis: -1, keepsAxis: true)).isFinite()
    }
  }

  @Test func textsAreThoseOfNumPy() throws {
    #expect(m.description == "[[ 1. -2.]\n [ 3.  4.]]")
    #expect(v.description == "[1. 2. 3.]")
    #expect(
      x.description
        == "[[[-2.875 -2.625 -2.375 -2.125]\n  [-1.875 -1.625 -1.375 -1.125]\n  [-0.875 -0.625 -0.375 -0.125]]\n\n [[ 0.125  0.375  0.625  0.875]\n  [ 1.125  1.375  1.625  1.875]\n  [ 2.125  2.375  2.625  2.875]]]"
    )
    #expect(i.description == "[ 7 -7 12]")
    #expect(b.description == "[ True False  True]")
    #expect(try (m / 3).description == "[[ 0.33333334 -0.6666667 ]\n [ 1.          1.3333334 ]]")
    #expect(try (m * 1e6).description == "[[ 1.e+06 -2.e+06]\n [ 3.e+06  4.e+06]]")
    #expect(try (v * 1e8).description == "[1.e+08 2.e+08 3.e+08]")
    #expect(try (v / 1e5).description == "[1.e-05 2.e-05 3.e-05]")
    #expect(try (1 / (v - 1)).description == "[inf 1.  0.5]")
    #expect(try (Tensor([-Double.nan, -1.25, Double.infinity])).description == "[  nan -1.25   inf]")
    #expect(try (Tensor([0.1, 123.456, 1e-3])).description == "[1.00000e-01 1.23456e+02 1.00000e-03]")
    #expect(try (Tensor([100, 0.125] as [Double])).description == "[100.      0.125]")
    #expect(try (Tensor([0.1, 2] as [Float16])).description == "[0.1 2. ]")
    #expect(
      try (Tensor.range(to: 40)).description
        == "[ 0.  1.  2.  3.  4.  5.  6.  7.  8.  9. 10. 11. 12. 13. 14. 15. 16. 17.\n 18. 19. 20. 21. 22. 23. 24. 25. 26. 27. 28. 29. 30. 31. 32. 33. 34. 35.\n 36. 37. 38. 39.]"
    )
    #expect(
      try (Tensor.range(to: 1200).reshaped(3, 20, 20)).description
        == "[[[0.000e+00 1.000e+00 2.000e+00 ... 1.700e+01 1.800e+01 1.900e+01]\n  [2.000e+01 2.100e+01 2.200e+01 ... 3.700e+01 3.800e+01 3.900e+01]\n  [4.000e+01 4.100e+01 4.200e+01 ... 5.700e+01 5.800e+01 5.900e+01]\n  ...\n  [3.400e+02 3.410e+02 3.420e+02 ... 3.570e+02 3.580e+02 3.590e+02]\n  [3.600e+02 3.610e+02 3.620e+02 ... 3.770e+02 3.780e+02 3.790e+02]\n  [3.800e+02 3.810e+02 3.820e+02 ... 3.970e+02 3.980e+02 3.990e+02]]\n\n [[4.000e+02 4.010e+02 4.020e+02 ... 4.170e+02 4.180e+02 4.190e+02]\n  [4.200e+02 4.210e+02 4.220e+02 ... 4.370e+02 4.380e+02 4.390e+02]\n  [4.400e+02 4.410e+02 4.420e+02 ... 4.570e+02 4.580e+02 4.590e+02]\n  ...\n  [7.400e+02 7.410e+02 7.420e+02 ... 7.570e+02 7.580e+02 7.590e+02]\n  [7.600e+02 7.610e+02 7.620e+02 ... 7.770e+02 7.780e+02 7.790e+02]\n  [7.800e+02 7.810e+02 7.820e+02 ... 7.970e+02 7.980e+02 7.990e+02]]\n\n [[8.000e+02 8.010e+02 8.020e+02 ... 8.170e+02 8.180e+02 8.190e+02]\n  [8.200e+02 8.210e+02 8.220e+02 ... 8.370e+02 8.380e+02 8.390e+02]\n  [8.400e+02 8.410e+02 8.420e+02 ... 8.570e+02 8.580e+02 8.590e+02]\n  ...\n  [1.140e+03 1.141e+03 1.142e+03 ... 1.157e+03 1.158e+03 1.159e+03]\n  [1.160e+03 1.161e+03 1.162e+03 ... 1.177e+03 1.178e+03 1.179e+03]\n  [1.180e+03 1.181e+03 1.182e+03 ... 1.197e+03 1.198e+03 1.199e+03]]]"
    )
    #expect(try (Tensor(0..<2000)).description == "[   0    1    2 ... 1997 1998 1999]")
    #expect(try (Tensor.zeros([0, 3])).description == "[]")
    #expect(try (Tensor(scalar: 2.5 as Float)).description == "2.5")
    #expect(try (Tensor(scalar: -3)).description == "-3")
    #expect(try (Tensor(scalar: true)).description == "True")
    #expect(try (m[0] > 0).description == "[ True False]")
    #expect(try (Tensor([-1000000.5, 0.001] as [Double])).description == "[-1.0000005e+06  1.0000000e-03]")
    #expect(try (Tensor([[1.5e-9, 2], [3, 4e20]])).description == "[[1.5e-09 2.0e+00]\n [3.0e+00 4.0e+20]]")
  }
}
