import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// A weight and bias in the order in which one kind of kernel reads them.
///
/// For each convolution group and row group the rows (output channels × phases) are cut into blocks; a block holds
/// `[channel][tap][row]`, the last block filled up with zeros.
final class PackedLayout: Sendable {
  /// The blocks of one convolution group and row group.
  struct Section {
    /// Rows of a block.
    var blockRows: Int
    /// Blocks.
    var blocks: Int
    /// Rows that exist.
    var rows: Int
    /// Elements before the first block.
    var weightOffset: Int
    /// Elements before the first start value.
    var startOffset: Int
  }

  /// Which kernels read it.
  let kind: BlockKind
  /// For each convolution group, for each row group.
  let sections: [[Section]]
  let stencil: ConvolutionStencil
  let weights: Storage
  let starts: Storage
  /// Bytes of a weight, and of a start value.
  let weightSize: Int
  let elementSize: Int
  /// How the weights are stored, and for int8 the factor of each row, numbered like the start values.
  let storage: WeightStorage
  let scales: Storage?
  private let weightBytes: Int
  private let finite = Lock<Bool?>(nil)

  init(
    _ geometry: ConvolutionGeometry, _ stencil: ConvolutionStencil, _ kind: BlockKind, weight: Tensor, bias: Tensor?
  ) throws {
    self.kind = kind
    self.stencil = stencil
    var weightCount = 0
    var startCount = 0
    sections = (0..<stencil.groups).map { _ in
      stencil.rowGroups.map { group in
        let rows = stencil.outputs * group.phaseCount
        let blockRows = kind.blockRows(rows)
        let blocks = (rows + blockRows - 1) / blockRows
        defer {
          weightCount += blocks * blockRows * stencil.channels * group.tapCount
          startCount += blocks * blockRows
        }
        return Section(
          blockRows: blockRows, blocks: blocks, rows: rows, weightOffset: weightCount, startOffset: startCount)
      }
    }
    elementSize = weight.dtype.byteSize
    weightSize = elementSize
    (storage, scales) = (.full, nil)
    weightBytes = weightCount * elementSize
    // The kernels prefetch a little past the end.
    weights = try Storage(byteCount: weightCount * elementSize + 4096, for: .weights, operation: geometry.name)
    starts = try Storage(byteCount: startCount * elementSize, for: .weights, operation: geometry.name)
    if elementSize == 4 {
      pack(UInt32.self, geometry, weight, bias)
    } else {
      pack(UInt64.self, geometry, weight, bias)
    }
    // Kernels that leave out the padding add no zeros, which would turn -0 into 0.
    switch weight.dtype {
    case .float32: replaceNegativeZeros(UInt32.self)
    case .float64: replaceNegativeZeros(UInt64.self)
    default: break
    }
  }

  /// The same rows with weights in another form.
  init(_ other: PackedLayout, weights: Storage, weightSize: Int, storage: WeightStorage, scales: Storage?) {
    (kind, sections, stencil) = (other.kind, other.sections, other.stencil)
    (starts, elementSize) = (other.starts, other.elementSize)
    weightBytes = other.weightBytes / other.weightSize * weightSize
    (self.weights, self.weightSize, self.storage, self.scales) = (weights, weightSize, storage, scales)
  }

  /// Whether all weights, of `type`, are finite numbers.
  func isFinite(_ type: DType) -> Bool {
    finite.withLock { finite in
      let known = finite ?? !UnsafeRawBufferPointer(start: weights.base, count: weightBytes).hasNonFinite(type)
      finite = known
      return known
    }
  }

  /// Bytes held.
  var byteCount: Int { weights.byteCount + starts.byteCount + (scales?.byteCount ?? 0) }

  /// The first weight of a section.
  func weightPointer(_ section: Section) -> UnsafeRawPointer {
    UnsafeRawPointer(weights.base + section.weightOffset * weightSize)
  }

  /// The first start value of a section.
  func startPointer(_ section: Section) -> UnsafeRawPointer {
    UnsafeRawPointer(starts.base + section.startOffset * elementSize)
  }

  /// `Bits` is an unsigned integer as wide as an element; packing only moves bits.
  ///
  /// The weight may lie anywhere, as it does in a file.
  private func pack<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ bits: Bits.Type, _ geometry: ConvolutionGeometry, _ weight: Tensor, _ bias: Tensor?
  ) {
    let view = WeightView(weight, geometry, stencil)
    let size = MemoryLayout<Bits>.size
    let target = weights.base.assumingMemoryBound(to: Bits.self)
    for (index, section) in sections.joined().enumerated() {
      let group = stencil.rowGroups[index % stencil.rowGroups.count]
      let base = UnsafeRawPointer(weight.elements) + (index / stencil.rowGroups.count) * view.group * size
      packSection(section, group, view.taps(group), base, view.output, view.input, target + section.weightOffset)
    }
    packStarts(bits, bias)
  }

  private func packSection<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ section: Section, _ group: RowGroup, _ taps: [[Int]], _ base: UnsafeRawPointer,
    _ outStride: Int, _ inStride: Int, _ target: UnsafeMutablePointer<Bits>
  ) {
    let phases = group.phaseCount
    let tapCount = group.tapCount
    let blockRows = section.blockRows
    let size = MemoryLayout<Bits>.size
    let blockCount = blockRows * stencil.channels * tapCount
    // Weights of layers that are trained are packed at each step.
    let isFit = size == 4 && phases == 1 && tapCount > 0 && Int(bitPattern: base) % 4 == 0
    let order = isFit ? Self.order(taps[0]) : nil
    func packBlock(_ block: Int) {
      let blockStart = target + block * blockCount
      if let order, tapCount > 1 || outStride >= inStride {
        let rows = min(blockRows, section.rows - block * blockRows)
        let from = base + (block * blockRows * outStride + min(taps[0][0], taps[0][tapCount - 1])) * size
        packTransposed(
          rows, of: blockRows, from.assumingMemoryBound(to: Float.self), outStride, inStride, tapCount, order,
          UnsafeMutableRawPointer(blockStart).assumingMemoryBound(to: Float.self))
        return
      }
      if phases == 1, tapCount == 1, outStride < inStride {
        let rows = min(blockRows, section.rows - block * blockRows)
        let from = base + (block * blockRows * outStride + taps[0][0]) * size
        packColumns(rows, of: blockRows, from, outStride, inStride, blockStart)
        return
      }
      for row in 0..<blockRows {
        let index = block * blockRows + row
        guard index < section.rows else {
          for at in 0..<(stencil.channels * tapCount) { blockStart[at * blockRows + row] = 0 }
          continue
        }
        taps[index % phases].withUnsafeBufferPointer { offsets in
          let from = base + (index / phases) * outStride * size
          for channel in 0..<stencil.channels {
            let to = blockStart + channel * tapCount * blockRows + row
            let channelStart = from + channel * inStride * size
            for tap in 0..<tapCount {
              to[tap * blockRows] = channelStart.loadUnaligned(fromByteOffset: offsets[tap] * size, as: Bits.self)
            }
          }
        }
      }
    }
    ThreadPool.shared.runRows(section.blocks, width: blockCount) { $0.forEach(packBlock) }
  }

  /// 1 if taps follow one another in memory, −1 if they do so backwards, nil else.
  private static func order(_ taps: [Int]) -> Int? {
    let isForward = taps.indices.allSatisfy { taps[$0] == taps[0] + $0 }
    return isForward ? 1 : taps.indices.allSatisfy { taps[$0] == taps[0] - $0 } ? -1 : nil
  }

  /// A block of a weight of four bytes whose taps follow one another, in squares that stay in registers.
  private func packTransposed(
    _ rows: Int, of blockRows: Int, _ base: UnsafePointer<Float>, _ outStride: Int, _ inStride: Int, _ tapCount: Int,
    _ order: Int, _ target: UnsafeMutablePointer<Float>
  ) {
    let channels = stencil.channels
    if order == 1, inStride == tapCount {
      tz_transpose(base, outStride, rows, channels * tapCount, target, blockRows)
    } else {
      let first = order == 1 ? 0 : (tapCount - 1) * blockRows
      for channel in 0..<channels {
        tz_transpose(
          base + channel * inStride, outStride, rows, tapCount, target + channel * tapCount * blockRows + first,
          order * blockRows)
      }
    }
    guard rows < blockRows else { return }
    for at in 0..<(channels * tapCount) {
      for row in rows..<blockRows { target[at * blockRows + row] = 0 }
    }
  }

  /// A block of a weight whose rows lie closer together than its channels, such as a matrix seen transposed.
  private func packColumns<Bits: FixedWidthInteger & BitwiseCopyable>(
    _ rows: Int, of blockRows: Int, _ base: UnsafeRawPointer, _ outStride: Int, _ inStride: Int,
    _ target: UnsafeMutablePointer<Bits>
  ) {
    let size = MemoryLayout<Bits>.size
    for channel in 0..<stencil.channels {
      let (from, to) = (base + channel * inStride * size, target + channel * blockRows)
      for row in 0..<rows { to[row] = from.loadUnaligned(fromByteOffset: row * outStride * size, as: Bits.self) }
      for row in rows..<blockRows { to[row] = 0 }
    }
  }

  /// Start values of -0 become 0.
  private func replaceNegativeZeros<Bits: FixedWidthInteger>(_ bits: Bits.Type) {
    let values = starts.base.assumingMemoryBound(to: Bits.self)
    for index in 0..<(starts.byteCount / MemoryLayout<Bits>.size) where values[index] << 1 == 0 { values[index] = 0 }
  }

  private func packStarts<Bits: FixedWidthInteger>(_ bits: Bits.Type, _ bias: Tensor?) {
    let target = starts.base.assumingMemoryBound(to: Bits.self)
    for (groupIndex, group) in sections.enumerated() {
      for (section, rowGroup) in zip(group, stencil.rowGroups) {
        for row in 0..<(section.blocks * section.blockRows) {
          var value: Bits = 0
          if let bias, row < section.rows {
            let channel = groupIndex * stencil.outputs + row / rowGroup.phaseCount
            value = bias.pointer(Bits.self)[channel * bias.strides[0]]
          }
          target[section.startOffset + row] = value
        }
      }
    }
  }
}
