import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// The weight's gradient of a convolution of few input channels without groups, of float32 numbers, as one matrix product over
/// positions (of more channels: ``WeightGradientPanels``).
///
///     w[o][tap][c] = Σ_position dy[o][position] · x[c][position · stride + tap · dilation]
///
/// A part of the positions is done after the other. Of each the cotangent is copied with rows that do not fall on each other in
/// the cache, and the input is transposed, channels last, with its padding, and laid out for all taps at once: the columns of
/// ``tz_product``.
///
/// Each result is one chain of multiply-adds in the order of samples and positions: threads share output channels and columns.
struct WeightGradientRun {
  private let x: Tensor
  private let dy: Tensor
  private let axes: [WeightGradientAxis]
  private let samples: Int
  private let inputs: Int
  private let outputs: Int
  /// The axis along which samples are cut into parts: the outermost that is there.
  private let cut: Int
  private let taps: Int

  private static let width = PackedMatrix.width
  /// Positions of a part: what belongs to them stays in the second-level cache.
  private var mostPositions: Int {
    let width = max(inputs * axes.reduce(1) { $0 * $1.stride }, Self.width) + outputs
    return max(256, min(8192, 160_000 / width))
  }

  /// - Parameters:
  ///   - x: the input `[N, C, …]`.
  ///   - dy: the cotangent `[N, O, …]`, whose rows are contiguous.
  init(_ x: Tensor, _ dy: Tensor, _ conv: ConvolutionGeometry, padding: [Int]) {
    (self.x, self.dy) = (x, dy)
    axes = WeightGradientAxis.three(x, dy, conv, padding: padding)
    (samples, inputs, outputs) = (x.shape[0], x.shape[1], dy.shape[1])
    cut = 3 - conv.rank
    taps = axes.reduce(1) { $0 * $1.kernel }
  }

  /// Whether a convolution has so few input channels.
  static func suits(_ conv: ConvolutionGeometry) -> Bool { conv.inChannels / conv.groups < 16 }

  /// Samples and outputs along the cut axis that are computed together.
  private struct Part {
    var samples: Range<Int>
    var along: Range<Int>
  }

  private var parts: [Part] {
    let inner = axes[(cut + 1)...].reduce(1) { $0 * $1.output }
    let along = max(1, mostPositions / inner)
    guard along >= axes[cut].output else {
      return (0..<samples).flatMap { sample in
        stride(from: 0, to: axes[cut].output, by: along).map {
          Part(samples: sample..<(sample + 1), along: $0..<min(axes[cut].output, $0 + along))
        }
      }
    }
    let together = max(1, mostPositions / (inner * axes[cut].output))
    return stride(from: 0, to: samples, by: together).map {
      Part(samples: $0..<min(samples, $0 + together), along: 0..<axes[cut].output)
    }
  }

  /// The gradient `[O, taps, C]`.
  private func computed() throws -> Tensor {
    let columns = taps * inputs
    let panels = (columns + Self.width - 1) / Self.width
    let result = try Tensor(
      uninitialized: [outputs, columns], dtype: .float32, operation: "convolution weight gradient")
    let parts = parts
    let most = parts.reduce(0) { max($0, positions($1)) }
    let pitch = spreadPitch(most, elementSize: 4)
    let left = try scratch(outputs * pitch)
    let slab = try scratch(parts.reduce(0) { max($0, slabSize($1)) } * inputs)
    let joined = try scratch(most * panels * Self.width)
    let pool = ThreadPool.shared
    let table = tz_products_kernels(InstructionSet.current.code)
    let height = Int(tz_products_rows(table))
    let wanted = (4 * pool.threadCount + panels - 1) / panels
    let blocks = max(1, min((outputs + height - 1) / height, wanted))
    for (index, part) in parts.enumerated() {
      pack(part, left: pointer(left), pitch: pitch, slab: pointer(slab))
      join(part, slab: pointer(slab), to: pointer(joined), columns: panels * Self.width)
      let count = positions(part)
      pool.run(panels * blocks) { item, _ in
        let (panel, block) = item.quotientAndRemainder(dividingBy: blocks)
        let first = outputs * block / blocks
        var one = tz_product()
        one.a = UnsafePointer(pointer(left) + first * pitch)
        one.a_row = pitch
        one.a_step = 1
        (one.b, one.b_step) = (UnsafePointer(pointer(joined) + panel * Self.width), panels * Self.width)
        one.rows = outputs * (block + 1) / blocks - first
        one.steps = count
        one.c_row = columns
        one.c = result.pointer(Float.self) + first * columns + panel * Self.width
        one.columns = Int32(min(Self.width, columns - panel * Self.width))
        one.adds = index > 0
        tz_product_panel(table, &one)
      }
    }
    withExtendedLifetime((x, dy, left, slab, joined)) {}
    return result
  }

  /// The gradient in the order of a weight `[O, C, …]`, whose spatial axes are one.
  func callAsFunction() throws -> Tensor {
    guard samples > 0, axes.allSatisfy({ $0.output > 0 }) else {
      return try Tensor.zeros([outputs, inputs, taps], dtype: .float32)
    }
    return try computed().reshaped([outputs, taps, inputs]).permuted([0, 2, 1])
  }

  // MARK: Layout

  private func scratch(_ count: Int) throws -> Storage {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: 4)
    guard !overflow else {
      throw ToeplitzError(
        .memory, "convolution weight gradient", expected: "sizes that fit into memory", got: "\(count) elements")
    }
    return try Storage(byteCount: max(4, bytes), for: .scratch, operation: "convolution weight gradient")
  }

  private func pointer(_ storage: Storage) -> UnsafeMutablePointer<Float> {
    storage.base.assumingMemoryBound(to: Float.self)
  }

  /// Outputs of each axis in a part.
  private func outputs(_ part: Part, _ axis: Int) -> Int { axis == cut ? part.along.count : axes[axis].output }

  private func positions(_ part: Part) -> Int { (0..<3).reduce(part.samples.count) { $0 * outputs(part, $1) } }

  /// Positions of the padded input that a part reads.
  private func slabSize(_ part: Part) -> Int {
    (0..<3).reduce(part.samples.count) { $0 * axes[$1].extent(outputs(part, $1)) }
  }

  /// Copies a part's cotangent, and its input with padding, transposed.
  private func pack(
    _ part: Part, left: UnsafeMutablePointer<Float>, pitch: Int, slab: UnsafeMutablePointer<Float>
  ) {
    let extents = (0..<3).map { axes[$0].extent(outputs(part, $0)) }
    let inner = (0..<3).reduce(1) { $0 * outputs(part, $1) }
    let first = part.along.lowerBound
    let (channelStride, sampleStride) = (dy.strides[1], dy.strides[0])
    // Contiguous behind the cut axis, so that a part of a channel is.
    let skipped = first * (cut < 2 ? axes[(cut + 1)...].reduce(1) { $0 * $1.output } : 1)
    let from = dy.pointer(Float.self) + skipped
    let copies = (outputs + 15) / 16
    let planes = part.samples.count * extents[0]
    ThreadPool.shared.run(copies + planes) { item, _ in
      guard item >= copies else {
        for output in item * 16..<min(outputs, item * 16 + 16) {
          for (at, sample) in part.samples.enumerated() {
            (left + output * pitch + at * inner).update(
              from: from + output * channelStride + sample * sampleStride, count: inner)
          }
        }
        return
      }
      let plane = item - copies
      let (at, z) = plane.quotientAndRemainder(dividingBy: extents[0])
      let to = slab + (at * extents[0] + z) * extents[1] * extents[2] * inputs
      let base = x.pointer(Float.self) + (part.samples.lowerBound + at) * x.strides[0]
      packPlane(z + (cut == 0 ? first * axes[0].stride : 0), part, base, to, extents)
    }
  }

  /// Rows of one plane of the padded input.
  private func packPlane(
    _ z: Int, _ part: Part, _ base: UnsafeMutablePointer<Float>, _ to: UnsafeMutablePointer<Float>, _ extents: [Int]
  ) {
    let width = inputs
    func begin(_ axis: Int) -> Int {
      (axis == cut ? part.along.lowerBound * axes[axis].stride : 0) - axes[axis].low
    }
    let plane = z - axes[0].low
    for row in 0..<extents[1] {
      let line = to + row * extents[2] * width
      let y = row + begin(1)
      guard (0..<axes[0].input).contains(plane), (0..<axes[1].input).contains(y) else {
        line.update(repeating: 0, count: extents[2] * width)
        continue
      }
      let start = begin(2)
      let inside =
        min(extents[2], max(0, -start))..<max(min(extents[2], max(0, -start)), min(extents[2], axes[2].input - start))
      line.update(repeating: 0, count: inside.lowerBound * width)
      (line + inside.upperBound * width).update(repeating: 0, count: (extents[2] - inside.upperBound) * width)
      guard !inside.isEmpty else { continue }
      let source =
        base + plane * axes[0].inputStride + y * axes[1].inputStride
        + (inside.lowerBound + start) * axes[2].inputStride
      tz_transpose(source, x.strides[1], width, inside.count, line + inside.lowerBound * width, width)
    }
  }

  /// Lays out the channels of all taps under each output of a part, in `columns` columns.
  private func join(
    _ part: Part, slab: UnsafeMutablePointer<Float>, to: UnsafeMutablePointer<Float>, columns: Int
  ) {
    let extents = (0..<3).map { axes[$0].extent(outputs(part, $0)) }
    let counts = (0..<3).map { outputs(part, $0) }
    let rows = part.samples.count * counts[0] * counts[1]
    let isRun = axes[2].dilation == 1
    let piece = isRun ? axes[2].kernel * inputs : inputs
    ThreadPool.shared.run(rows) { row, _ in
      let (y, z, sample) = (row % counts[1], row / counts[1] % counts[0], row / counts[1] / counts[0])
      var line = to + row * counts[2] * columns
      for column in 0..<counts[2] {
        var next = line
        for a in 0..<axes[0].kernel {
          let plane = sample * extents[0] + z * axes[0].stride + a * axes[0].dilation
          for b in 0..<axes[1].kernel {
            let at = (plane * extents[1] + y * axes[1].stride + b * axes[1].dilation) * extents[2]
            for c in 0..<(isRun ? 1 : axes[2].kernel) {
              let from = slab + (at + column * axes[2].stride + c * axes[2].dilation) * inputs
              next.update(from: from, count: piece)
              next += piece
            }
          }
        }
        next.update(repeating: 0, count: columns - (next - line))
        line += columns
      }
    }
  }
}
