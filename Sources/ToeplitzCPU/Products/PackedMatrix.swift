import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The right operand of matrix products in panels of 32 columns, `[panels][steps][32]`, with zeros beyond the last column.
final class PackedMatrix: Sendable {
  /// Columns of a panel.
  static let width = TZ_PANEL

  /// Elements that are summed over.
  let steps: Int
  let columns: Int
  private let storage: Storage

  /// Packs `matrix`, float32 `[steps, columns]`, wherever in memory its elements lie.
  init(_ matrix: Tensor) throws {
    (steps, columns) = (matrix.shape[0], matrix.shape[1])
    let panels = (columns + Self.width - 1) / Self.width
    storage = try Storage(byteCount: max(1, panels * steps * Self.width) * 4, operation: "pack")
    let (from, to) = (UnsafeRawPointer(matrix.elements), storage.base.assumingMemoryBound(to: Float.self))
    let (steps, columns, strides) = (steps, columns, matrix.strides)
    ThreadPool.shared.runRows(panels, width: steps * Self.width) { range in
      for panel in range {
        Self.pack(
          from + panel * Self.width * strides[1] * 4, strides, to + panel * steps * Self.width, steps,
          min(Self.width, columns - panel * Self.width))
      }
    }
    withExtendedLifetime(matrix) {}
  }

  var panels: Int { (columns + Self.width - 1) / Self.width }
  /// Elements from one panel to the next.
  var panelSize: Int { steps * Self.width }
  /// The elements of a panel.
  func panel(_ index: Int) -> UnsafePointer<Float> {
    UnsafePointer(storage.base.assumingMemoryBound(to: Float.self) + index * panelSize)
  }
  /// Bytes of the panels.
  var byteCount: Int { storage.byteCount }

  /// Copies `columns` columns into one panel.
  ///
  /// - Parameter strides: elements between steps and between columns of `from`, which need not be aligned.
  static func pack(
    _ from: UnsafeRawPointer, _ strides: [Int], _ to: UnsafeMutablePointer<Float>, _ steps: Int, _ columns: Int
  ) {
    let (step, column) = (strides[0] * 4, strides[1] * 4)
    func put(_ k: Int, _ j: Int) {
      to[k * width + j] = (from + k * step + j * column).loadUnaligned(as: Float.self)
    }
    if column == 4 {
      for k in 0..<steps { copyRow(from + k * step, UnsafeMutableRawPointer(to + k * width), columns) }
      return
    }
    // Some steps of each column at a time, so that lines are read whole.
    for first in stride(from: 0, to: steps, by: 16) {
      for j in 0..<columns {
        for k in first..<min(steps, first + 16) { put(k, j) }
      }
    }
    guard columns < width else { return }
    for k in 0..<steps {
      for j in columns..<width { to[k * width + j] = 0 }
    }
  }
}

extension PackedMatrix {
  /// Copies elements that lie together into a row of a panel, with zeros behind them.
  ///
  /// Vectors that the compiler knows the length of, since calls to copy so few bytes take longer than the copies.
  private static func copyRow(_ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer, _ columns: Int) {
    typealias Part = SIMD8<Float>
    let size = MemoryLayout<Part>.size
    func copy(_ part: Int) {
      to.storeBytes(
        of: from.loadUnaligned(fromByteOffset: part * size, as: Part.self), toByteOffset: part * size, as: Part.self)
    }
    if columns == width {
      for part in 0..<width / Part.scalarCount { copy(part) }
      return
    }
    let whole = columns / Part.scalarCount
    for part in 0..<whole { copy(part) }
    for part in whole..<width / Part.scalarCount {
      to.storeBytes(of: Part(), toByteOffset: part * size, as: Part.self)
    }
    for place in whole * Part.scalarCount..<columns {
      to.storeBytes(
        of: from.loadUnaligned(fromByteOffset: place * 4, as: Float.self), toByteOffset: place * 4, as: Float.self)
    }
  }

  /// A bias with zeros up to whole panels.
  static func padded(_ bias: Tensor) throws -> Tensor {
    let rest = bias.count % width
    guard rest != 0 || !bias.isContiguous else { return bias }
    let zeros = try Tensor.zeros([(width - rest) % width], dtype: .float32)
    return try Tensor.concatenate([bias, zeros])
  }
}

/// The packed forms of a weight of linear maps, held by the weight's storage.
final class LinearPackings: PreparedValue {
  private struct Key: Hashable, Sendable {
    var view: TensorView
    var isTransposed: Bool
  }
  private struct Kept: Sendable {
    var matrix: PackedMatrix
    var factors: Tensor?
  }
  private let kept = Lock<Kept?>(nil)

  private init() {}

  var byteCount: Int { kept.withLock { $0?.matrix.byteCount ?? 0 } }

  /// The weight of a linear map as the right operand of a product, packed now if it has not been before.
  ///
  /// - Parameter factors: what the weights of each output channel are multiplied by, in float64.
  static func packed(_ geometry: ConvolutionGeometry, _ weight: Tensor, factors: Tensor?) throws -> PackedMatrix {
    let key = Key(view: TensorView(weight), isTransposed: geometry.isTransposed)
    return try weight.storage.prepared(key) { LinearPackings() }.kept.withLock { kept in
      if let known = kept, known.factors.isSameView(as: factors) { return known.matrix }
      let scaled = try factors.map { try geometry.scaled(weight, by: $0) } ?? weight.cast(to: .float32)
      // [out, in], or [in, out] of a transposed convolution.
      let (first, second) = (scaled.strides[0], scaled.strides[1])
      let matrix = try PackedMatrix(
        scaled.view(
          shape: [geometry.inChannels, geometry.outChannels],
          strides: geometry.isTransposed ? [first, second] : [second, first], offset: scaled.offset))
      weight.storage.forgetFilePages()
      kept = Kept(matrix: matrix, factors: factors)
      return matrix
    }
  }
}

extension Optional<Tensor> {
  /// Whether both are the same view of the same memory, or both nothing.
  fileprivate func isSameView(as other: Tensor?) -> Bool {
    guard let self, let other else { return self == nil && other == nil }
    return self.isSameView(as: other)
  }
}
