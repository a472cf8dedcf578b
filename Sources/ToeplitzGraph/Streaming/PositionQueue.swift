import ToeplitzOps
import ToeplitzTensor

/// Positions that wait, the oldest first; a value, that allocates memory only where more wait than ever before.
struct PositionQueue: Sendable {
  /// Room for positions, of which the first ``count`` are there.
  private var tensor: Tensor
  private let axis: Int
  /// How many positions wait.
  private(set) var count: Int
  /// Rows of positions, and bytes of a position in one.
  private let rows: Int
  private let width: Int

  /// `count` zeros.
  init(_ spec: TensorSpec, axis: Int, zeros count: Int) throws {
    (self.axis, self.count) = (axis, count)
    tensor = try Tensor.zeros(spec.shape.replacing(axis, by: count), dtype: spec.dtype)
    rows = spec.shape.dimensions[..<axis].reduce(1, *)
    width = spec.shape.dimensions[(axis + 1)...].reduce(1, *) * spec.dtype.byteSize
  }

  /// All positions that wait.
  var waiting: Tensor {
    get throws { try tensor.slice(axis: axis, 0..<count).copied() }
  }

  /// Makes sure of memory of its own, with room for `more` positions.
  private mutating func reserve(_ more: Int) throws {
    guard count + more > tensor.shape[axis] || !tensor.ownsStorage() else { return }
    let size = max(count + more, tensor.shape[axis])
    let larger = try Tensor(
      uninitialized: tensor.shape.replacing(axis, by: size), dtype: tensor.dtype, operation: "stream")
    let kept = 0..<count
    try larger.slice(axis: axis, kept).fillOnce(from: tensor.slice(axis: axis, kept))
    tensor = larger
  }

  private func address(row: Int, _ position: Int) -> UnsafeMutableRawPointer {
    tensor.elements + (row * tensor.shape[axis] + position) * width
  }

  /// Adds positions at the end.
  mutating func append(_ positions: Int, of output: StridedRows) throws {
    guard positions > 0 else { return }
    try reserve(positions)
    output.read(to: tensor.elements, at: count, of: tensor.shape[axis])
    count += positions
  }

  /// Takes the first positions out, which are there, and writes them in row-major order.
  mutating func removeFirst(_ positions: Int, into target: UnsafeMutableRawPointer) throws {
    try reserve(0)
    count -= positions
    for row in 0..<rows {
      let first = address(row: row, 0)
      (target + row * positions * width).copyMemory(from: first, byteCount: positions * width)
      first.copyMemory(from: first + positions * width, byteCount: count * width)
    }
  }
}
