import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  /// As many elements as `Range` may give: a few numbers can ask for any amount.
  private static let longestRange = 1 << 24

  static let constants: [String: ValueMaker] = [
    "Constant": { node in
      if let texts = try node.string("value_string") {
        let value = ModelValue.strings(try StringTensor([texts], shape: []))
        return { _ in [value] }
      }
      if let texts = try node.strings("value_strings") {
        let value = ModelValue.strings(try StringTensor(texts))
        return { _ in [value] }
      }
      if case .strings(let texts) = try node.value("value") { return { _ in [.strings(texts)] } }
      let value: Tensor
      if let tensor = try node.tensor("value") ?? node.tensor("sparse_value") {
        value = tensor
      } else if let number = try node.float("value_float") {
        value = try Tensor(scalar: Float(number))
      } else if let number = try node.int("value_int") {
        value = try Tensor(scalar: Int64(number))
      } else if let numbers = try node.floats("value_floats") {
        value = try Tensor(numbers.map { Float($0) }, shape: nil)
      } else if let numbers = try node.ints("value_ints") {
        value = try Tensor(numbers.map { Int64($0) }, shape: nil, device: .cpu)
      } else {
        throw ToeplitzError(.unsupported, "Constant", expected: "a constant of numbers or strings", got: "another")
      }
      return { _ in [.tensor(value)] }
    }
  ]

  static let sizes: [String: OperatorMaker] = [
    "ConstantOfShape": { node in
      let value = try node.tensor("value") ?? Tensor(scalar: Float(0))
      guard value.count == 1 else { throw node.refuse("a value of one element", got: "shape \(value.shape)") }
      return { x in
        let shape = TensorShape(try x.ints(0))
        _ = try shape.elementCount("ConstantOfShape")
        // No memory for what is all the same.
        return [try value.reshaped([]).expanded(to: shape)]
      }
    },
    "Shape": { node in
      let (start, end) = (try node.int("start", 0), try node.int("end"))
      return { x in
        let shape = try x(0).shape
        func clamp(_ axis: Int) -> Int { min(max(axis < 0 ? axis + shape.rank : axis, 0), shape.rank) }
        let (first, last) = (clamp(start), clamp(end ?? shape.rank))
        return [try Tensor(shape.dimensions[first..<max(first, last)].map { Int64($0) }, shape: nil, device: .cpu)]
      }
    },
    "Size": { node in { [try Tensor(scalar: Int64($0(0).count))] } },
    "Range": { node in
      { x in
        let (start, limit, step) = (try x(0), try x(1), try x(2))
        let dtype = start.dtype
        guard limit.dtype == dtype, step.dtype == dtype else {
          throw x.refuse(.dtype, "three numbers of one type", got: "\(dtype), \(limit.dtype), \(step.dtype)")
        }
        if dtype.isInteger {
          let (first, last, by) = (
            try start.wholeNumbers("Range"), try limit.wholeNumbers("Range"), try step.wholeNumbers("Range")
          )
          guard first.count == 1, last.count == 1, by.count == 1, by[0] != 0 else {
            throw x.refuse("three numbers and a step other than 0", got: "\(first), \(last), \(by)")
          }
          let (distance, overflow) = last[0].subtractingReportingOverflow(first[0])
          let steps = overflow || by[0] == -1 && distance == .min ? Int.max : distance / by[0]
          let count = steps < 0 ? 0 : steps == Int.max ? steps : steps + (distance % by[0] == 0 ? 0 : 1)
          guard (distance == 0 || (distance > 0) == (by[0] > 0)) else { return [try Tensor.zeros([0], dtype: dtype)] }
          guard count <= longestRange else { throw x.refuse("at most \(longestRange) numbers", got: "\(count)") }
          let numbers = (0..<count).map { Int64(first[0] &+ $0 &* by[0]) }
          return [try Tensor(numbers, shape: nil, device: .cpu).cast(to: dtype)]
        }
        let (first, last, by) = (try start.number("Range"), try limit.number("Range"), try step.number("Range"))
        let count = max(0, ((last - first) / by).rounded(.up))
        guard by != 0, !(last - first).isNaN, !by.isNaN, count <= Double(longestRange) else {
          throw x.refuse("a step that leads from \(first) to \(last)", got: "\(by)")
        }
        return [try Tensor((0..<Int(count)).map { first + Double($0) * by }, shape: nil, device: .cpu).cast(to: dtype)]
      }
    },
    "EyeLike": { node in
      let (dtype, k) = (try node.dtype("dtype"), try node.int("k", 0))
      return { x in
        let shape = try x(0).shape
        guard shape.rank == 2 else { throw x.refuse(.shape, "a matrix", got: "shape \(shape)") }
        let (rows, columns) = (try positions(shape[0], column: true), try positions(shape[1], column: false))
        let shift = try Tensor.full([], Double(k), dtype: .int64)
        return [try rows.expanded(to: shape).equal(columns - shift).cast(to: dtype ?? x(0).dtype)]
      }
    },
    "Trilu": { node in
      let isUpper = try node.flag("upper", true)
      return { x in
        let input = try x(0)
        guard input.rank >= 2 else { throw x.refuse(.shape, "matrices", got: "shape \(input.shape)") }
        let k = try x.optionalInts(1)?.first ?? 0
        let (height, width) = (input.shape[input.rank - 2], input.shape[input.rank - 1])
        // Beyond the matrix every shift is the same.
        let shift = try Tensor(scalar: Int64(min(max(k, -height - 1), width + 1)))
        let (rows, columns) = (try positions(height, column: true), try positions(width, column: false) - shift)
        let keeps = try isUpper ? columns.greaterOrEqual(rows) : columns.lessOrEqual(rows)
        return [try Tensor.where(keeps, input, Tensor.full([], 0, dtype: input.dtype))]
      }
    },
    "OneHot": { node in
      let axis = try node.int("axis", -1)
      return { x in
        let indices = try x(0)
        let depth = try x.size(1)
        let values = try x(2)
        guard values.count == 2, depth >= 0, depth < 1 << 40 else {
          throw x.refuse("two values and a depth of at least 0", got: "\(values.count) and \(depth)")
        }
        let at = axis < 0 ? axis + indices.rank + 1 : axis
        guard (0...indices.rank).contains(at) else { throw x.refuse("an axis in 0...\(indices.rank)", got: "\(axis)") }
        let whole = try indices.cast(to: .int64)
        let negative = try whole.less(Tensor(scalar: Int64(0)))
        let wrapped = try Tensor.where(negative, whole + Tensor(scalar: Int64(depth)), whole).unsqueezed(at)
        let row = try positions(depth, column: false)
          .reshaped(TensorShape([depth] + Array(repeating: 1, count: indices.rank - at)))
        let flat = try values.reshaped([2])
        return [try Tensor.where(wrapped.equal(row), flat.select(axis: 0, 1), flat.select(axis: 0, 0))]
      }
    },
    "NonZero": { node in { [try $0(0).nonzero()] } },
  ]

  /// The numbers 0 to `count` − 1 as int64, across or down.
  private static func positions(_ count: Int, column: Bool) throws -> Tensor {
    try Tensor.range(to: Double(count), dtype: .int64).reshaped(column ? [count, 1] : [count])
  }
}
