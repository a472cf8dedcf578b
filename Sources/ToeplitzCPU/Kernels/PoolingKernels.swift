import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension MaxPooling: CPUKernel {
  package var makesNewResults: Bool { true }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    if let result = try poolBytes(inputs[0], outputs) { return [result] }
    let x = try inputs[0].dense()
    if let result = try poolPlanes(x, outputs) { return [result] }
    switch x.dtype {
    case .float32: return try pool(x, outputs, least: -Float.infinity)
    case .float64: return try pool(x, outputs, least: -Double.infinity)
    case .int64: return try pool(x, outputs, least: Int64.min)
    case .int32: return try pool(x, outputs, least: Int32.min)
    case .uint32: return try pool(x, outputs, least: UInt32.min)
    case .uint64: return try pool(x, outputs, least: UInt64.min)
    default:
      // float32 holds every value of the small types.
      var results = try applyAll(self, [x.cast(to: .float32)])
      results[0] = try results[0].cast(to: x.dtype)
      return results
    }
  }

  /// float32 planes without positions, which are so small that they stay in the cache with a border; nil for everything else.
  private func poolPlanes(_ x: Tensor, _ outputs: [TensorSpec]) throws -> Tensor? {
    guard positions == nil, geometry.rank <= 2, x.dtype == .float32, !x.isBorrowed, outputs[0].shape.reduce(1, *) > 0
    else {
      return nil
    }
    let axes = PoolAxis.three(
      geometry, input: Array(x.shape.suffix(geometry.rank)), output: Array(outputs[0].shape.suffix(geometry.rank)))
    let (height, width) = (axes[1], axes[2])
    var plane = tz_pool_plane()
    plane.input = (height.input, width.input)
    plane.output = (height.output, width.output)
    plane.kernel = (height.kernel, width.kernel)
    plane.stride = (height.stride, width.stride)
    plane.dilation = (height.dilation, width.dilation)
    plane.low = (height.low, width.low)
    let reach = (width.output - 1) * width.stride + 1 + (width.kernel - 1) * width.dilation
    let room = 8 * (reach + 64) + height.input * (width.output + 16)
    guard width.low >= 0, height.low >= 0, width.low < reach, room <= 1 << 16 else { return nil }
    let y = try Tensor(uninitialized: outputs[0].shape, dtype: .float32, operation: name)
    let (from, to) = (x.pointer(Float.self), y.pointer(Float.self))
    let (inner, outer) = (height.input * width.input, height.output * width.output)
    let table = tz_windows_kernels(InstructionSet.current.code).pointee
    let template = plane
    ThreadPool.shared.runRows(y.count / outer, width: inner) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: room) { scratch in
        var plane = template
        for index in range { table.max_pool(&plane, from + index * inner, to + index * outer, scratch.baseAddress) }
      }
    }
    withExtendedLifetime((x, y)) {}
    return y
  }

  /// The largest bytes of images whose channels lie side by side in memory, as the results' do; nil for everything else.
  private func poolBytes(_ x: Tensor, _ outputs: [TensorSpec]) throws -> Tensor? {
    guard positions == nil, geometry.rank == 2, x.rank == 4, x.dtype == .uint8 || x.dtype == .int8, x.hasChannelsLast
    else { return nil }
    let shape = outputs[0].shape
    let channels = shape[1]
    let y = try Tensor(uninitialized: [shape[0], shape[2], shape[3], channels], dtype: x.dtype, operation: name)
    let axes = PoolAxis.three(geometry, input: [x.shape[2], x.shape[3]], output: [shape[2], shape[3]])
    let (height, width) = (axes[1], axes[2])
    let (from, to) = (x.elements.assumingMemoryBound(to: UInt8.self), y.elements.assumingMemoryBound(to: UInt8.self))
    let strides = x.strides
    let flip: UInt8 = x.dtype == .int8 ? 0x80 : 0
    let isa = InstructionSet.current.code
    let line = width.input * channels
    let windows = (0..<width.kernel).map { width.windows($0) }
    ThreadPool.shared.runRows(shape[0] * height.output, width: width.output * channels) { range in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(1, line)) { memory in
        guard let best = memory.baseAddress else { return }
        for row in range {
          let (sample, h) = (row / height.output, row % height.output)
          // The maximum over the window's rows for each column, the lowest value where all of them are padding.
          best.update(repeating: flip, count: line)
          for kh in height.taps(h) {
            let from = from + sample * strides[0] + (height.start(h) + kh * height.dilation) * strides[2]
            if strides[3] == channels {
              tz_bytes_larger(isa, from, best, line, flip)
            } else {
              for w in 0..<width.input {
                tz_bytes_larger(isa, from + w * strides[3], best + w * channels, channels, flip)
              }
            }
          }
          let target = to + row * width.output * channels
          target.update(repeating: flip, count: width.output * channels)
          for (kw, windows) in windows.enumerated() {
            let first = width.start(windows.lowerBound) + kw * width.dilation
            if width.stride == 1 {
              tz_bytes_larger(
                isa, best + first * channels, target + windows.lowerBound * channels, windows.count * channels, flip)
            } else {
              for (at, w) in windows.enumerated() {
                tz_bytes_larger(
                  isa, best + (first + at * width.stride) * channels, target + w * channels, channels, flip)
              }
            }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
    return try y.permuted([0, 3, 1, 2])
  }

  private func pool<T: NumericTensorScalar>(_ x: Tensor, _ outputs: [TensorSpec], least: T) throws -> [Tensor] {
    let results = try outputs.map { try Tensor(uninitialized: $0.shape, dtype: $0.dtype, operation: name) }
    guard results[0].count > 0 else { return results }
    let axes = PoolAxis.three(
      geometry, input: Array(x.shape.suffix(geometry.rank)),
      output: Array(outputs[0].shape.suffix(geometry.rank)))
    let inputPlane = axes.reduce(1) { $0 * $1.input }
    let outputPlane = axes.reduce(1) { $0 * $1.output }
    let source = x.pointer(T.self)
    let kernel = T.self == Float.self ? tz_elementwise_kernels(InstructionSet.current.code).pointee.larger : nil
    let pick = T.self == Float.self ? tz_windows_kernels(InstructionSet.current.code).pointee.pick_larger : nil
    ThreadPool.shared.runRows(results[0].count / outputPlane, width: inputPlane) { range in
      withUnsafeTemporaryAllocation(of: T.self, capacity: max(1, axes[2].input)) { line in
        guard let line = line.baseAddress else { return }
        for plane in range {
          let (from, to) = (source + plane * inputPlane, results[0].pointer(T.self) + plane * outputPlane)
          if let positions {
            let indices = results[1].pointer(Int64.self) + plane * outputPlane
            if let pick, inputPlane < Int(Int32.max) {
              select(axes, from, to, indices, least) { (x, stride, place: Int32, best, places, n) in
                pick(
                  UnsafeRawPointer(x).assumingMemoryBound(to: Float.self), stride, place,
                  UnsafeMutableRawPointer(best).assumingMemoryBound(to: Float.self), places, n)
              }
            } else {
              select(axes, from, to, indices, least, pickLarger)
            }
            if case .tensor(let columnMajor) = positions {
              place(axes, indices, outputPlane, plane: plane * inputPlane, columnMajor: columnMajor)
            }
          } else {
            largest(axes, from, to, line, least, kernel)
          }
        }
      }
    }
    withExtendedLifetime((x, results)) {}
    return results
  }

  /// One plane, a row of outputs at a time: first the largest of each column of the window's rows, into `line`, then for each
  /// position of a window in that line all outputs that have it.
  @inline(__always)
  private func largest<T: NumericTensorScalar>(
    _ axes: [PoolAxis], _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>, _ line: UnsafeMutablePointer<T>,
    _ least: T, _ kernel: Kernel?
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    let (count, stride) = (width.input, width.stride)
    let windows = (0..<width.kernel).map { width.windows($0) }
    for d in 0..<depth.output {
      for h in 0..<height.output {
        line.update(repeating: least, count: count)
        for kd in depth.taps(d) {
          for kh in height.taps(h) {
            let at =
              (depth.start(d) + kd * depth.dilation) * height.input + height.start(h) + kh * height.dilation
            keepLarger(x + at * count, 1, line, count, kernel)
          }
        }
        let row = y + (d * height.output + h) * width.output
        row.update(repeating: least, count: width.output)
        for kw in 0..<width.kernel {
          let range = windows[kw]
          let from = line + (kw * width.dilation - width.low + range.lowerBound * stride)
          keepLarger(from, stride, row + range.lowerBound, range.count, kernel)
        }
      }
    }
  }

  /// Lets each of some elements be the larger of itself and an input, of which those lie `stride` apart.
  @inline(__always)
  private func keepLarger<T: NumericTensorScalar>(
    _ x: UnsafeMutablePointer<T>, _ stride: Int, _ y: UnsafeMutablePointer<T>, _ count: Int, _ kernel: Kernel?
  ) {
    if let kernel, stride <= 2 {
      kernel(
        UnsafeRawPointer(x).assumingMemoryBound(to: Float.self), stride,
        UnsafeMutableRawPointer(y).assumingMemoryBound(to: Float.self), count)
    } else {
      for i in 0..<count { y[i] = larger(x[i * stride], y[i]) }
    }
  }

  /// The function of float32 elements for that, for strides of 1 and 2.
  private typealias Kernel = @convention(c) (UnsafePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int) -> Void

  /// The larger of two, NaN being larger than all.
  ///
  /// Two selections in turn: a branch would often be guessed wrong, which took six times as long.
  @inline(__always)
  private func larger<T: NumericTensorScalar>(_ value: T, _ best: T) -> T {
    let most = value > best ? value : best
    return value == value ? most : value
  }

  /// Lets each of some elements be an input with its place where that is larger or NaN, or where none is there yet: the inputs lie
  /// `stride` apart, the first at `place`.
  private typealias Pick<T, Place> = (
    _ x: UnsafePointer<T>, _ stride: Int, _ place: Place, _ best: UnsafeMutablePointer<T>,
    _ places: UnsafeMutablePointer<Place>, _ count: Int
  ) -> Void

  private func pickLarger<T: NumericTensorScalar>(
    _ x: UnsafePointer<T>, _ stride: Int, _ place: Int64, _ best: UnsafeMutablePointer<T>,
    _ places: UnsafeMutablePointer<Int64>, _ count: Int
  ) {
    for i in 0..<count {
      let value = x[i * stride]
      if places[i] < 0 || value > best[i] || value != value {
        (best[i], places[i]) = (value, place + Int64(i * stride))
      }
    }
  }

  /// One plane with indices, a row of outputs at a time: of equal elements the first counts, of several NaN the last, as in PyTorch.
  @inline(__always)
  private func select<T: NumericTensorScalar, Place: FixedWidthInteger>(
    _ axes: [PoolAxis], _ x: UnsafeMutablePointer<T>, _ y: UnsafeMutablePointer<T>,
    _ indices: UnsafeMutablePointer<Int64>, _ least: T, _ pick: Pick<T, Place>
  ) {
    let (depth, height, width) = (axes[0], axes[1], axes[2])
    let windows = (0..<width.kernel).map { width.windows($0) }
    withUnsafeTemporaryAllocation(of: Place.self, capacity: max(1, width.output)) { places in
      guard let line = places.baseAddress else { return }
      var row = 0
      for d in 0..<depth.output {
        for h in 0..<height.output {
          let best = y + row * width.output
          best.update(repeating: least, count: width.output)
          places.update(repeating: -1)
          for kd in depth.taps(d) {
            for kh in height.taps(h) {
              let at =
                (depth.start(d) + kd * depth.dilation) * height.input + height.start(h) + kh * height.dilation
              for (kw, range) in windows.enumerated() where !range.isEmpty {
                let first = at * width.input + width.start(range.lowerBound) + kw * width.dilation
                pick(
                  x + first, width.stride, Place(first), best + range.lowerBound, line + range.lowerBound, range.count)
              }
            }
          }
          for w in 0..<width.output { indices[row * width.output + w] = Int64(line[w]) }
          row += 1
        }
      }
    }
  }
}

extension MaxPooling {
  /// Makes positions in a plane positions in the whole tensor, in which the plane begins at `plane`.
  private func place(
    _ axes: [PoolAxis], _ indices: UnsafeMutablePointer<Int64>, _ count: Int, plane: Int, columnMajor: Bool
  ) {
    let (height, width) = (axes[1].input, axes[2].input)
    for at in 0..<count {
      let own = Int(indices[at])
      // None where a window lies in the padding.
      guard own >= 0 else { continue }
      var flat = own
      if columnMajor {
        let (row, column) = (own / width, own % width)
        let (d, h) = (row / height, row % height)
        flat = d + axes[0].input * (h + height * column)
      }
      indices[at] = Int64(plane + flat)
    }
  }
}

/// One axis of a pooling with its sizes.
struct PoolAxis {
  var input = 1
  var output = 1
  var kernel = 1
  var stride = 1
  var low = 0
  var high = 0
  var dilation = 1

  /// Where the first position of window `index` lies; negative in the padding.
  func start(_ index: Int) -> Int { index * stride - low }

  /// The positions of window `index` that lie inside the input, as numbers of the window.
  func taps(_ index: Int) -> Range<Int> {
    let start = start(index)
    let low = start < 0 ? (-start + dilation - 1) / dilation : 0
    let high = min(kernel, start < input ? (input - start + dilation - 1) / dilation : 0)
    return min(low, high)..<high
  }

  /// The windows whose position `tap` lies inside the input.
  func windows(_ tap: Int) -> Range<Int> {
    let offset = tap * dilation - low
    let low = offset < 0 ? (-offset + stride - 1) / stride : 0
    let high = min(output, offset < input ? (input - offset + stride - 1) / stride : 0)
    return min(low, high)..<high
  }

  /// The three axes of a geometry, missing ones first with size 1.
  static func three(_ g: PoolGeometry, input: [Int], output: [Int]) -> [PoolAxis] {
    let own = (0..<g.rank).map {
      PoolAxis(
        input: input[$0], output: output[$0], kernel: g.kernelSize[$0], stride: g.stride[$0],
        low: g.paddingLow[$0], high: g.paddingHigh[$0], dilation: g.dilation[$0])
    }
    return Array(repeating: PoolAxis(), count: 3 - g.rank) + own
  }
}
