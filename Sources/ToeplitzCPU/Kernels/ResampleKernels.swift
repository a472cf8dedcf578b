import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension Resample: CPUKernel {
  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let x = try inputs[0].dense()
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    switch rule {
    case .interpolated(let samples):
      if !samples.interpolation.isNearest, x.dtype != .float32, x.dtype != .float64 {
        return [try apply(self, x.cast(to: .float32)).cast(to: x.dtype)]
      }
      return [try samples.taken(from: x, axis, outputs[0], name)]
    case .weighted(let terms, let fill): return [try blend(x, axis, terms, fill, outputs[0])]
    }
  }

  package func bound(_ call: BoundCall) throws -> BoundComputation? {
    let (x, y) = (call.operands[0], call.results[0])
    let axis = try x.shape.normalizedAxis(axis, operation: name)
    let length = x.shape[axis]
    // Each position several times: a copy for each time.
    guard length > 0, let positions = rule.nearestPositions(length: length) else { return nil }
    let times = positions.count / length
    guard times * length == positions.count, positions.indices.allSatisfy({ positions[$0] == $0 / times }) else {
      return nil
    }
    var strides = y.strides
    strides[axis] *= times
    let copies = (0..<times).map { time in
      ElementCopy(
        from: x, to: y.view(shape: x.shape, strides: strides, offset: y.offset + time * y.strides[axis]))
    }
    return { for copy in copies { copy.run() } }
  }

  /// Weighted sums of positions, in float64.
  private func blend(_ x: Tensor, _ axis: Int, _ terms: [[Term]?], _ fill: Double, _ output: TensorSpec) throws
    -> Tensor
  {
    let result = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let outer = x.shape.prefix(axis).reduce(1, *)
    let length = x.shape[axis]
    let known = terms.compactMap { $0 }
    if known.count == terms.count, x.dtype.byteSize == 4 {
      if let positions = rule.nearestPositions(length: length) {
        AxisSamples(x, result, axis).take(positions)
        return result
      }
      if x.dtype == .float32, known.allSatisfy({ (1...4).contains($0.count) }) {
        // Terms that are missing weigh nothing.
        let count = known.allSatisfy { $0.count <= 2 } ? 2 : 4
        func term(_ sample: [Term], _ at: Int) -> Term {
          at < sample.count ? sample[at] : Term(position: sample[0].position, weight: 0)
        }
        AxisSamples(x, result, axis).mix(
          (0..<count).map { at in known.map { term($0, at).position } },
          (0..<count).map { at in known.map { term($0, at).weight } })
        return result
      }
    }
    func run<T: TensorScalar>(_ type: T.Type) {
      ThreadPool.shared.runRows(outer, width: max(1, terms.count * inner)) { range in
        for block in range {
          for (index, sample) in terms.enumerated() {
            let to = result.pointer(type) + (block * terms.count + index) * inner
            guard let sample else {
              to.update(repeating: T(converting: fill), count: inner)
              continue
            }
            let from = x.pointer(type) + block * length * inner
            // A single term moves elements of any type without a change.
            if sample.count == 1, sample[0].weight == 1 {
              to.update(from: from + sample[0].position * inner, count: inner)
              continue
            }
            for i in 0..<inner {
              var sum = 0.0
              for term in sample { sum += from[term.position * inner + i].doubleValue * term.weight }
              to[i] = T(converting: sum)
            }
          }
        }
      }
    }
    if x.dtype == .float32 { run(Float.self) } else { run(x.dtype.scalarType) }
    withExtendedLifetime((x, result)) {}
    return result
  }
}

extension EvenSamples {
  /// The samples of `x` along an axis.
  fileprivate func taken(from x: Tensor, _ axis: Int, _ output: TensorSpec, _ name: String) throws -> Tensor {
    if interpolation.isNearest {
      let y = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
      if x.dtype.byteSize == 4 {
        AxisSamples(x, y, axis).take(nearest(x.shape[axis]))
        return y
      }
      switch x.dtype.byteSize {
      case 1: copy(x, y, axis, UInt8.self)
      case 2: copy(x, y, axis, UInt16.self)
      default: copy(x, y, axis, UInt64.self)
      }
      return y
    }
    let y = try Tensor(uninitialized: output.shape, dtype: x.dtype, operation: name)
    if x.dtype == .float32 {
      let blends = blends(x.shape[axis])
      let (places, weights) = (blends.map(\.at), blends.map(\.weight))
      let count = interpolation == .cubic ? 4 : 2
      AxisSamples(x, y, axis).mix(
        Array([places.map(\.0), places.map(\.1), places.map(\.2), places.map(\.3)].prefix(count)),
        Array([weights.map(\.0), weights.map(\.1), weights.map(\.2), weights.map(\.3)].prefix(count)))
    } else {
      blend(x, y, axis)
    }
    return y
  }

  // MARK: Nearest

  private func copy<T: BitwiseCopyable>(_ x: Tensor, _ y: Tensor, _ axis: Int, _ type: T.Type) {
    guard y.count > 0 else { return }
    let length = x.shape[axis]
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let (source, target) = (x.pointer(T.self), y.pointer(T.self))
    nearest(length).withUnsafeBufferPointer { from in
      ThreadPool.shared.runRows(y.count / (size * inner), width: size * inner) { range in
        for row in range {
          let (a, b) = (source + row * length * inner, target + row * size * inner)
          if inner == 1 {
            for i in 0..<size { b[i] = a[from[i]] }
          } else {
            for i in 0..<size { (b + i * inner).update(from: a + from[i] * inner, count: inner) }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
  }

  // MARK: Linear and cubic

  private func blend(_ x: Tensor, _ y: Tensor, _ axis: Int) {
    guard y.count > 0 else { return }
    let length = x.shape[axis]
    let inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    let (source, target) = (x.pointer(Double.self), y.pointer(Double.self))
    blends(length).withUnsafeBufferPointer { blends in
      ThreadPool.shared.runRows(y.count / (size * inner), width: size * inner) { range in
        for row in range {
          let (from, to) = (source + row * length * inner, target + row * size * inner)
          for (index, blend) in blends.enumerated() {
            let (at, weight) = (blend.at, blend.weight)
            for i in 0..<inner {
              let (a, b) = (from[at.0 * inner + i] * weight.0, from[at.1 * inner + i] * weight.1)
              var sum = a + b
              if interpolation == .cubic {
                sum = sum + from[at.2 * inner + i] * weight.2 + from[at.3 * inner + i] * weight.3
              }
              to[index * inner + i] = sum
            }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
  }
}

/// Samples along an axis of tensors whose elements take four bytes.
private struct AxisSamples {
  let x: Tensor
  let y: Tensor
  private let length: Int
  private let size: Int
  private let inner: Int
  private let rows: Int
  private let table = tz_windows_kernels(InstructionSet.current.code).pointee

  init(_ x: Tensor, _ y: Tensor, _ axis: Int) {
    (self.x, self.y, length, size) = (x, y, x.shape[axis], y.shape[axis])
    inner = x.shape.dropFirst(axis + 1).reduce(1, *)
    rows = x.shape.prefix(axis).reduce(1, *)
  }

  /// Elements as they are.
  func take(_ places: [Int]) {
    guard y.count > 0 else { return }
    let (from, to) = (x.elements.assumingMemoryBound(to: Float.self), y.elements.assumingMemoryBound(to: Float.self))
    places.map { Int32($0) }.withUnsafeBufferPointer { places in
      let base = places.baseAddress
      ThreadPool.shared.runRows(rows, width: size * inner) { range in
        table.take(
          from + range.lowerBound * length * inner, to + range.lowerBound * size * inner, base, range.count, length,
          size, inner)
      }
    }
    withExtendedLifetime((x, y)) {}
  }

  /// Weighted sums of two or four float32 elements: for each term its places and weights.
  func mix(_ places: [[Int]], _ weights: [[Double]]) {
    guard y.count > 0 else { return }
    let (from, to) = (x.pointer(Float.self), y.pointer(Float.self))
    let terms = places.count
    places.joined().map { Int32($0) }.withUnsafeBufferPointer { places in
      weights.joined().map { Float($0) }.withUnsafeBufferPointer { weights in
        let (placeBase, weightBase) = (places.baseAddress, weights.baseAddress)
        guard inner > 1 else {
          ThreadPool.shared.runRows(rows, width: 4 * size) { range in
            for row in range {
              table.mix_places(from + row * length, placeBase, weightBase, terms, to + row * size, size)
            }
          }
          return
        }
        ThreadPool.shared.runRows(rows * size, width: inner) { range in
          withUnsafeTemporaryAllocation(of: UnsafePointer<Float>?.self, capacity: 4) { pointers in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: 4) { factors in
              for item in range {
                let (row, index) = (item / size, item % size)
                for at in 0..<4 {
                  guard at < terms, let placeBase, let weightBase else {
                    (pointers[at], factors[at]) = (nil, 0)
                    continue
                  }
                  pointers[at] = UnsafePointer(from + (row * length + Int(placeBase[at * size + index])) * inner)
                  factors[at] = weightBase[at * size + index]
                }
                table.mix_rows(pointers.baseAddress, factors.baseAddress, to + item * inner, inner)
              }
            }
          }
        }
      }
    }
    withExtendedLifetime((x, y)) {}
  }
}
