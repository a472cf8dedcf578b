import ToeplitzTensor

/// Operands that broadcast to one shape, as rows of that shape with as few axes as there can be.
struct RowWalk: Sendable {
  enum Kind: Sendable {
    /// Elements follow one another as those of the result do.
    case whole
    /// One element for all.
    case single
    case rows
  }
  /// Elements of a row, and how many rows there are.
  private(set) var length = 1
  private(set) var rows = 1
  private(set) var kinds: [Kind] = []
  /// Sizes of the axes before the last.
  private var sizes: [Int] = []
  /// For each operand the strides of those axes, then that of the last.
  private var strides: [Int] = []

  init(_ inputs: [Tensor], _ shape: TensorShape) {
    let own = inputs.map { $0.broadcastStrides(to: shape) }
    var axes: [(size: Int, strides: [Int])] = []
    for axis in shape.indices where shape[axis] != 1 {
      let (size, next) = (shape[axis], own.map { $0[axis] })
      if let last = axes.last, zip(last.strides, next).allSatisfy({ $0 == $1 * size }) {
        axes[axes.count - 1] = (last.size * size, next)
      } else {
        axes.append((size, next))
      }
    }
    let last = axes.popLast() ?? (1, inputs.map { _ in 0 })
    length = last.size
    sizes = axes.map(\.size)
    rows = sizes.reduce(1, *)
    for index in inputs.indices {
      let all = axes.map { $0.strides[index] } + [last.strides[index]]
      strides += all
      var expected = 1
      var isWhole = true
      for (size, stride) in zip(sizes + [length], all).reversed() {
        isWhole = isWhole && stride == expected
        expected *= size
      }
      kinds.append(isWhole ? .whole : all.allSatisfy { $0 == 0 } ? .single : .rows)
    }
  }

  /// Elements between neighbours in a row of an operand.
  @inline(__always)
  func innerStride(_ input: Int) -> Int { strides[(input + 1) * (sizes.count + 1) - 1] }

  /// Elements from an operand's first to the first of a row.
  @inline(__always)
  func offset(_ input: Int, _ row: Int) -> Int {
    let first = input * (sizes.count + 1)
    if sizes.count == 1 { return row * strides[first] }
    var (rest, offset) = (row, 0)
    for axis in sizes.indices.reversed() {
      offset += rest % sizes[axis] * strides[first + axis]
      rest /= sizes[axis]
    }
    return offset
  }
}

extension RowWalk {
  /// What `body` gives for operands that broadcast to `shape`: where they lie in another order than that of the axes, it gets
  /// them in that order, and its result is turned back.
  static func inMemoryOrder(
    _ inputs: [Tensor], _ shape: TensorShape, _ body: ([Tensor], TensorShape) throws -> Tensor
  ) throws -> Tensor {
    guard let order = memoryOrder(inputs, shape) else { return try body(inputs, shape) }
    let result = try body(turned(inputs, shape, order), TensorShape(order.map { shape[$0] }))
    var back = [Int](repeating: 0, count: order.count)
    for (at, axis) in order.enumerated() { back[axis] = at }
    return try result.permuted(back)
  }

  /// Operands that broadcast to `shape` with its axes in another order.
  static func turned(_ inputs: [Tensor], _ shape: TensorShape, _ order: [Int]) throws -> [Tensor] {
    try inputs.map { input in
      guard input.count != 1 else { return try input.reshaped([]) }
      return try input.view(shape: shape, strides: input.broadcastStrides(to: shape), offset: input.offset)
        .permuted(order)
    }
  }

  /// The axes from the one of the largest stride on, if the operands of the result's shape lie without gaps in one order that is
  /// not that of their axes; else nil.
  static func memoryOrder(_ inputs: [Tensor], _ shape: TensorShape) -> [Int]? {
    var found: [Int]?
    for input in inputs where input.shape == shape {
      if input.isContiguous { return nil }
      if let found {
        guard isDense(input, found) else { return nil }
        continue
      }
      let order = shape.indices.sorted {
        (input.strides[$0], shape[$0]) > (input.strides[$1], shape[$1])
      }
      guard isDense(input, order) else { return nil }
      found = order
    }
    return found
  }

  /// Whether a tensor's elements follow one another in this order of its axes.
  private static func isDense(_ tensor: Tensor, _ order: [Int]) -> Bool {
    var expected = 1
    for axis in order.reversed() where tensor.shape[axis] != 1 {
      guard tensor.strides[axis] == expected else { return false }
      expected *= tensor.shape[axis]
    }
    return true
  }
}
