import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Reduction: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = inputs[0]
    let gone = try reduced(x.shape)
    if let result = try vectorized(x, gone, outputs[0]) { return [result] }
    let kept = x.shape.indices.filter { !gone.contains($0) }
    let (rows, distance) = try x.permuted(kept + gone).rows(ofLast: gone.count)
    let width = gone.reduce(1) { $0 * x.shape[$1] }
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: outputs[0].dtype, operation: name)
    func walk<T: TensorScalar>(_ type: T.Type) { walkFloating(rows, distance, width, result, type) }
    func walkInteger<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) {
      let source = rows.pointer(T.self)
      for row in 0..<result.count {
        let value = reduceInteger(UnsafeBufferPointer(start: source + row * distance, count: width))
        if result.dtype == .int64 {
          result.pointer(Int64.self)[row] = value
        } else {
          result.pointer(T.self)[row] = T(truncatingIfNeeded: value)
        }
      }
    }
    switch x.dtype {
    case .int8: walkInteger(Int8.self)
    case .uint8: walkInteger(UInt8.self)
    case .int16: walkInteger(Int16.self)
    case .uint16: walkInteger(UInt16.self)
    case .uint32: walkInteger(UInt32.self)
    case .uint64: walkInteger(UInt64.self)
    case .int32: walkInteger(Int32.self)
    case .int64: walkInteger(Int64.self)
    // Spelt out, so that each is compiled for its type.
    case .float32: walk(Float.self)
    case .float64: walk(Double.self)
    case .float16: walk(Float16.self)
    case .bfloat16: walk(BFloat16.self)
    default: walk(x.dtype.scalarType)
    }
    withExtendedLifetime((rows, result)) {}
    return [result]
  }

  // MARK: float32

  /// Sums, means, variances and extremes of float32 numbers, wherever the axes that go stand; nil for everything else.
  private func vectorized(_ x: Tensor, _ gone: [Int], _ output: TensorSpec) throws -> Tensor? {
    guard x.dtype == .float32 || x.dtype == .float16 || x.dtype == .bfloat16,
      let computation = try computation(x.cast(to: .float32), gone, dense: { try $0.dense() })
    else { return nil }
    let result = try Tensor(uninitialized: output.shape, dtype: .float32, operation: name)
    computation(result)()
    return try result.cast(to: output.dtype)
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    guard call.operands[0].dtype == .float32, call.results[0].dtype == .float32, call.results[0].isContiguous else {
      return nil
    }
    let ordered = BoundOperands(call.memory, name: name)
    let computation = try computation(call.operands[0], reduced(call.operands[0].shape)) { try ordered.dense($0) }
    return computation.map { ordered.finished($0(call.results[0])) }
  }

  /// What computes float32 numbers into a contiguous result; nil where there is no kernel.
  ///
  /// Sums go along the rows of the last axis if it goes, in chains of their own, and from row to row; otherwise down its
  /// columns.
  ///
  /// - Parameter dense: what gives a contiguous copy.
  private func computation(
    _ wide: Tensor, _ gone: [Int], dense: (Tensor) throws -> Tensor
  ) throws -> ((Tensor) -> () -> Void)? {
    switch function {
    case .sum, .mean, .maximum, .minimum, .variance: break
    case .product, .argMaximum, .argMinimum: return nil
    }
    guard wide.count > 0, !gone.isEmpty else { return nil }
    if !wide.isContiguous {
      // In the order of memory, if that leaves the order of what is kept.
      let order = wide.shape.indices.sorted { (wide.strides[$0], $1) > (wide.strides[$1], $0) }
      let moved = try wide.permuted(order)
      let kept = order.filter { !gone.contains($0) }
      if moved.isContiguous, kept == kept.sorted() {
        return try computation(moved, order.indices.filter { gone.contains(order[$0]) }, dense: dense)
      }
    }
    // The last axes alone: rows that may lie apart, as those of small images do.
    if gone == Array((wide.rank - gone.count)..<wide.rank) {
      let (rows, distance) = try wide.rows(ofLast: gone.count, dense: dense)
      let width = gone.reduce(1) { $0 * wide.shape[$1] }
      return { alongRows(rows, distance, width, $0) }
    }
    let x = try wide.isContiguous ? wide : dense(wide)
    // Neighbouring axes of one kind are one.
    var axes: [(size: Int, isGone: Bool)] = []
    for axis in x.shape.indices where x.shape[axis] != 1 {
      let isGone = gone.contains(axis)
      if let last = axes.last, last.isGone == isGone {
        axes[axes.count - 1].size *= x.shape[axis]
      } else {
        axes.append((x.shape[axis], isGone))
      }
    }
    if axes.isEmpty { axes = [(1, true)] }
    let goneAxes = axes.indices.filter { axes[$0].isGone }
    let keptAxes = axes.indices.filter { !axes[$0].isGone }
    let isRow = axes[axes.count - 1].isGone
    // Variances of anything but rows, and of more than two axes that alternate, are rare.
    guard !goneAxes.isEmpty, goneAxes.count <= 2, keptAxes.count <= 2,
      function != .variance || goneAxes.count == 1 && isRow
    else { return nil }
    func stride(_ axis: Int) -> Int { axes[(axis + 1)...].reduce(1) { $0 * $1.size } }
    func run(_ axis: Int) -> (count: Int, step: Int) { (axes[axis].size, stride(axis)) }
    let width = goneAxes.reduce(1) { $0 * axes[$1].size }
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    let from = x.pointer(Float.self)
    if isRow {
      let length = axes[axes.count - 1].size
      let others = goneAxes.count == 2 ? run(goneAxes[0]) : (count: 1, step: 0)
      let inner = keptAxes.last.map(run) ?? (count: 1, step: 0)
      let outer = keptAxes.count == 2 ? stride(keptAxes[0]) : 0
      let isMinimum = function == .minimum
      return { result in
        let to = result.pointer(Float.self)
        return ThreadPool.shared.sharingRows(result.count, width: width) { range in
          for row in range {
            let start = from + row / inner.count * outer + row % inner.count * inner.step
            switch function {
            case .maximum, .minimum:
              var best = isMinimum ? table.smallest(start, length) : table.largest(start, length)
              for other in 1..<max(1, others.count) {
                let next = start + other * others.step
                let value = isMinimum ? table.smallest(next, length) : table.largest(next, length)
                if value.isNaN || (isMinimum ? value < best : value > best) { best = value }
              }
              to[row] = best
            case .variance:
              let squares = table.squares(start, length, table.sum(start, length) / Double(length))
              to[row] = Float(squares / Swift.max(0, Double(length) - correction))
            default:
              var sum = table.sum(start, length)
              for other in 1..<max(1, others.count) { sum += table.sum(start + other * others.step, length) }
              to[row] = Float(function == .mean ? sum / Double(width) : sum)
            }
          }
          withExtendedLifetime((x, result)) {}
        }
      }
    }
    // Down columns, some of which are side by side.
    let columns = axes[axes.count - 1].size
    let near = goneAxes.last.map(run) ?? (count: 1, step: 0)
    let far = goneAxes.count == 2 ? run(goneAxes[0]) : (count: 1, step: 0)
    let outerCount = keptAxes.count == 2 ? axes[keptAxes[0]].size : 1
    let outer = keptAxes.count == 2 ? stride(keptAxes[0]) : 0
    let together = 256
    let blocks = (columns + together - 1) / together
    let elementwise = tz_elementwise_kernels(InstructionSet.current.code)
    let isExtreme = function == .maximum || function == .minimum
    return { result in
      let to = result.pointer(Float.self)
      return ThreadPool.shared.sharingRows(outerCount * blocks, width: width * min(columns, together)) { range in
        for item in range {
          let first = item % blocks * together
          let count = min(together, columns - first)
          let start = from + item / blocks * outer + first
          let target = to + item / blocks * columns + first
          guard isExtreme else {
            table.column_sums(
              start, near.step, near.count, far.step, far.count, function == .mean ? Double(width) : 1, target, count)
            continue
          }
          target.update(from: start, count: count)
          for other in 0..<far.count {
            for row in 0..<near.count {
              tz_pairs_run(
                elementwise, function == .maximum ? TZ_MAXIMUM : TZ_MINIMUM, target,
                start + other * far.step + row * near.step, target, count)
            }
          }
        }
        withExtendedLifetime((x, result)) {}
      }
    }
  }

  /// Rows of `width` elements, `distance` elements apart.
  private func alongRows(_ x: Tensor, _ distance: Int, _ width: Int, _ result: Tensor) -> () -> Void {
    let table = tz_rows_kernels(InstructionSet.current.code).pointee
    let (from, to) = (x.pointer(Float.self), result.pointer(Float.self))
    let (function, correction) = (function, correction)
    return ThreadPool.shared.sharingRows(result.count, width: width) { range in
      for row in range {
        let start = from + row * distance
        switch function {
        case .maximum: to[row] = table.largest(start, width)
        case .minimum: to[row] = table.smallest(start, width)
        case .variance:
          let squares = table.squares(start, width, table.sum(start, width) / Double(width))
          to[row] = Float(squares / Swift.max(0, Double(width) - correction))
        case .mean: to[row] = Float(table.sum(start, width) / Double(width))
        default: to[row] = Float(table.sum(start, width))
        }
      }
      withExtendedLifetime((x, result)) {}
    }
  }

  // MARK: Every type

  /// All rows, `distance` elements apart.
  private func walkFloating<T: TensorScalar>(
    _ rows: Tensor, _ distance: Int, _ width: Int, _ result: Tensor, _ type: T.Type
  ) {
    let source = rows.pointer(T.self)
    let sums = function == .sum || function == .mean
    let divisor = function == .mean ? Double(width) : 1
    ThreadPool.shared.runRows(result.count, width: width) { range in
      var row = range.lowerBound
      while sums, row + 4 <= range.upperBound {
        let four = fourSums(source + row * distance, distance, width)
        for index in 0..<4 { put(four[index] / divisor, result, row + index, type) }
        row += 4
      }
      for row in row..<range.upperBound {
        put(reduceFloating(UnsafeBufferPointer(start: source + row * distance, count: width)), result, row, type)
      }
    }
  }

  /// Bool sums and all indices are int64; every other result has the elements' own type.
  @inline(__always)
  private func put<T: TensorScalar>(_ value: Double, _ result: Tensor, _ row: Int, _ type: T.Type) {
    if result.dtype == .int64 {
      result.pointer(Int64.self)[row] = Int64(converting: value)
    } else {
      result.pointer(T.self)[row] = T(converting: value)
    }
  }

  /// The sums of four rows, side by side since the additions of one wait for each other.
  @inline(__always)
  private func fourSums<T: TensorScalar>(_ x: UnsafePointer<T>, _ distance: Int, _ width: Int) -> SIMD4<Double> {
    var (a, b, c, d) = (0.0, 0.0, 0.0, 0.0)
    let (second, third, fourth) = (x + distance, x + 2 * distance, x + 3 * distance)
    for index in 0..<width {
      a += x[index].doubleValue
      b += second[index].doubleValue
      c += third[index].doubleValue
      d += fourth[index].doubleValue
    }
    return SIMD4(a, b, c, d)
  }

  /// One row, summed in double precision.
  @inline(__always)
  private func reduceFloating<T: TensorScalar>(_ row: UnsafeBufferPointer<T>) -> Double {
    func sum(_ term: (Double) -> Double) -> Double {
      var total = 0.0
      for element in row { total += term(element.doubleValue) }
      return total
    }
    switch function {
    case .sum: return sum { $0 }
    case .product:
      var total = 1.0
      for element in row { total *= element.doubleValue }
      return total
    case .mean: return sum { $0 } / Double(row.count)
    case .variance:
      let mean = sum { $0 } / Double(row.count)
      return sum { ($0 - mean) * ($0 - mean) } / Swift.max(0, Double(row.count) - correction)
    case .maximum: return row[Self.best(row) { $0 > $1 }].doubleValue
    case .minimum: return row[Self.best(row) { $0 < $1 }].doubleValue
    case .argMaximum: return Double(Self.best(row) { $0 > $1 })
    case .argMinimum: return Double(Self.best(row) { $0 < $1 })
    }
  }

  /// The first element that no other beats; NaN beats all.
  @inline(__always)
  private static func best<T: TensorScalar>(
    _ row: UnsafeBufferPointer<T>, _ beats: (Double, Double) -> Bool
  ) -> Int {
    var (at, value) = (0, row[0].doubleValue)
    for index in 1..<Swift.max(1, row.count) where !value.isNaN {
      let next = row[index].doubleValue
      if next.isNaN || beats(next, value) { (at, value) = (index, next) }
    }
    return at
  }

  private func reduceInteger<T: FixedWidthInteger>(_ row: UnsafeBufferPointer<T>) -> Int64 {
    func first(_ value: T?) -> Int64 { Int64(row.firstIndex { $0 == value } ?? 0) }
    switch function {
    case .sum, .mean, .variance: return row.reduce(Int64(0)) { $0 &+ Int64(truncatingIfNeeded: $1) }
    case .product: return row.reduce(Int64(1)) { $0 &* Int64(truncatingIfNeeded: $1) }
    case .maximum: return Int64(truncatingIfNeeded: row.max() ?? 0)
    case .minimum: return Int64(truncatingIfNeeded: row.min() ?? 0)
    case .argMaximum: return first(row.max())
    case .argMinimum: return first(row.min())
    }
  }
}
