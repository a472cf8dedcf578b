import CToeplitzKernels
import ToeplitzOps
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
  /// Elements of one block of the points but the last.
  private let blockCount: Int
  private let channels: Int
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
    channels = stencil.channels
    let total = stencil.groups * channels * plan.steps * blocks * blockRows
    // The kernels prefetch a little past the end.
    weights = try Storage(byteCount: total * 4 + 4096, for: .weights, operation: geometry.name)
    starts = try Storage(byteCount: stencil.groups * blocks * blockRows * 4, for: .weights, operation: geometry.name)
    let target = weights.base.assumingMemoryBound(to: Float.self)
    let start = starts.base.assumingMemoryBound(to: Float.self)
    start.update(repeating: 0, count: stencil.groups * blocks * blockRows)
    let view = WeightView(weight, geometry, stencil)
    // The weight may lie anywhere, as it does in a file.
    let source = UnsafeRawPointer(weight.elements)
    // For each phase and tap, in the plan's order, how many bytes its weight lies away.
    let (h, w) = plan.tapOrder
    let places = view.taps(group).map { taps in h.flatMap { h in w.map { 4 * taps[h * w.count + $0] } } }
    let point = blocks * blockCount
    let lastCount = blockCount(point: plan.points - 1)
    for convolutionGroup in 0..<stencil.groups {
      let base = source + convolutionGroup * view.group * 4
      let first = target + offset(convolutionGroup, point: 0)
      if let bias {
        for row in 0..<rows {
          let channel = convolutionGroup * stencil.outputs + row / phases
          start[convolutionGroup * blocks * blockRows + row] = bias.pointer(Float.self)[channel * bias.strides[0]]
        }
      }
      ThreadPool.shared.runRows(blocks, width: plan.points * blockCount) { [self] range in
        var transform = tz_toom_taps()
        transform.kind = plan.kind
        (transform.taps, transform.points) = (plan.taps, plan.axisPoints)
        (transform.point, transform.piece) = (point, blockRows)
        for block in range {
          let to = first + block * blockCount
          // The last point's blocks may be smaller.
          let last = (plan.points - 1) * point + block * (lastCount - blockCount)
          for index in 0..<(plan.points - 1) { (to + index * point).update(repeating: 0, count: blockCount) }
          (to + last).update(repeating: 0, count: lastCount)
          for row in (block * blockRows)..<min(rows, (block + 1) * blockRows) {
            let from = base + row / phases * view.output * 4
            places[row % phases].withUnsafeBufferPointer { places in
              (transform.places, transform.count) = (places.baseAddress, places.count)
              for channel in 0..<stencil.channels {
                transform.last = last + channel * (lastCount - blockCount) / stencil.channels
                tz_toom_transform_taps(
                  &transform, from + channel * view.input * 4,
                  to + row % blockRows + channel * plan.pieces * blockRows)
              }
            }
          }
        }
      }
    }
    guard !UnsafeRawBufferPointer(start: target, count: total * 4).hasNonFinite(.float32) else { return nil }
  }

  /// Bytes held.
  var byteCount: Int { weights.byteCount + starts.byteCount }

  /// Elements of one block of a point.
  func blockCount(point: Int) -> Int { channels * plan.pieces(at: point) * blockRows }

  /// The weights of block 0 of a point.
  func pointer(_ convolutionGroup: Int, point: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(weights.base + offset(convolutionGroup, point: point) * 4)
  }

  /// Elements before block 0 of a point.
  private func offset(_ convolutionGroup: Int, point: Int) -> Int {
    (convolutionGroup * channels * plan.steps * blockRows + point * blockCount) * blocks
  }

  /// The bias of row 0.
  func start(_ convolutionGroup: Int) -> UnsafePointer<Float> {
    UnsafePointer(starts.base.assumingMemoryBound(to: Float.self) + convolutionGroup * blocks * blockRows)
  }
}
