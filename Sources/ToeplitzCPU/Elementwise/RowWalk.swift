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
