import CToeplitzKernels
import ToeplitzTensor

/// The weights of one row group transformed for a ``ToomCookPlan``, in the order in which one kind of kernel reads
/// them: for each convolution group `[point][block of rows][channel][piece][row]`, the last block filled up with zeros.
final class ToomCookWeights: Sendable {
  /// What they depend on beside the weight.
  struct Key: Hashable {
    var rowGroup: Int
    /// The number of the transform.
    var transform: UInt32
    var kind: BlockKind
  }

  let plan: ToomCookPlan
  /// Rows of a block.
  let blockRows: Int
  /// Rows that exist, and blocks.
  let rows: Int
  let blocks: Int
  /// Elements of one block.
  let blockCount: Int
  private let weights: Storage
  private let starts: Storage

  /// Rows of a block of each kind.
  static func blockRows(_ kind: BlockKind) -> Int { kind.blockRows(8) }

  /// Transforms in double precision.
  ///
  /// - Returns: nil where a transformed weight is not a finite float32 number.
  /// - Throws: ``ToeplitzError`` of kind `memory` where there is none left.
  init?(
    _ plan: ToomCookPlan, _ kind: BlockKind, _ geometry: ConvolutionGeometry, _ stencil: ConvolutionStencil,
    group: RowGroup, weight: Tensor, bias: Tensor?
  ) throws {
    self.plan = plan
    blockRows = Self.blockRows(kind)
    let phases = group.phaseCount
    rows = stencil.outputs * phases
    blocks = (rows + blockRows - 1) / blockRows
    blockCount = stencil.channels * plan.pieces * blockRows
    let total = stencil.groups * plan.points * blocks * blockCount
    // The kernels prefetch a little past the end.
    weights = try Storage(byteCount: total * 4 + 4096, for: .weights, operation: geometry.name)
    starts = try Storage(byteCount: stencil.groups * blocks * blockRows * 4, for: .weights, operation: geometry.name)
    let target = weights.base.assumingMemoryBound(to: Float.self)
    let start = starts.base.assumingMemoryBound(to: Float.self)
    target.update(repeating: 0, count: total)
    start.update(repeating: 0, count: stencil.groups * blocks * blockRows)
    let view = WeightView(weight, geometry, stencil)
    // The weight may lie anywhere, as it does in a file.
    let source = UnsafeRawPointer(weight.elements)
    var transform = TapTransform(plan, group: group, taps: view.taps(group))
    for convolutionGroup in 0..<stencil.groups {
      let base = source + convolutionGroup * view.group * 4
      let first = target + convolutionGroup * plan.points * blocks * blockCount
      for row in 0..<rows {
        if let bias {
          let channel = convolutionGroup * stencil.outputs + row / phases
          start[convolutionGroup * blocks * blockRows + row] = bias.pointer(Float.self)[channel * bias.strides[0]]
        }
        let from = base + row / phases * view.output * 4
        let to = first + row / blockRows * blockCount + row % blockRows
        for channel in 0..<stencil.channels {
          transform.run(
            from + channel * view.input * 4, phase: row % phases, to + channel * plan.pieces * blockRows,
            point: blocks * blockCount, piece: blockRows)
        }
      }
    }
    guard transform.isFinite else { return nil }
  }

  /// Bytes held.
  var byteCount: Int { weights.byteCount + starts.byteCount }

  /// The weights of block 0 of a point.
  func pointer(_ convolutionGroup: Int, point: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(weights.base + (convolutionGroup * plan.points + point) * blocks * blockCount * 4)
  }

  /// The bias of row 0.
  func start(_ convolutionGroup: Int) -> UnsafePointer<Float> {
    UnsafePointer(starts.base.assumingMemoryBound(to: Float.self) + convolutionGroup * blocks * blockRows)
  }
}

/// The product of one row's taps with the matrix G of the transform, on one axis or both.
private struct TapTransform {
  private let plan: ToomCookPlan
  /// G, `[points][taps]`.
  private let matrix: [Double]
  /// For each phase and tap, in a plan's order, where its weight lies: distances in bytes.
  private let places: [[Int]]
  private var between: [Double]
  private(set) var isFinite = true

  init(_ plan: ToomCookPlan, group: RowGroup, taps: [[Int]]) {
    self.plan = plan
    let values = tz_toom_taps(plan.kind)
    matrix = (0..<(plan.axisPoints * plan.taps)).map { values?[$0] ?? .nan }
    let (h, w) = plan.tapOrder
    places = taps.map { taps in h.flatMap { h in w.map { 4 * taps[h * w.count + $0] } } }
    between = Array(repeating: 0, count: plan.axisPoints * plan.taps)
  }

  /// Writes point p of piece j to `to[p × point + j × piece]`.
  mutating func run(
    _ from: UnsafeRawPointer, phase: Int, _ to: UnsafeMutablePointer<Float>, point: Int, piece: Int
  ) {
    let (n, r) = (plan.axisPoints, plan.taps)
    let places = places[phase]
    func tap(_ index: Int) -> Double { Double(from.loadUnaligned(fromByteOffset: places[index], as: Float.self)) }
    if plan.isSquare {
      // Along w, then along h.
      for i in 0..<r {
        for q in 0..<n {
          var sum = 0.0
          for k in 0..<r { sum += matrix[q * r + k] * tap(i * r + k) }
          between[q * r + i] = sum
        }
      }
      for p in 0..<n {
        for q in 0..<n {
          var sum = 0.0
          for i in 0..<r { sum += matrix[p * r + i] * between[q * r + i] }
          put(sum, to + (p * n + q) * point)
        }
      }
      return
    }
    for j in 0..<plan.pieces {
      for p in 0..<n {
        var sum = 0.0
        for k in 0..<min(r, places.count - j * r) { sum += matrix[p * r + k] * tap(j * r + k) }
        put(sum, to + p * point + j * piece)
      }
    }
  }

  private mutating func put(_ value: Double, _ to: UnsafeMutablePointer<Float>) {
    let value = Float(value)
    isFinite = isFinite && value.isFinite
    to.pointee = value
  }
}
