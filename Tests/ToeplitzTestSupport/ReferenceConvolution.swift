import ToeplitzOps
import ToeplitzTensor

/// The oracle: a convolution and its transpose straight from the definition, in double precision.
///
/// It shares nothing with the fast path but the geometry's numbers: a loop over every (output, input, tap) triple.
package enum ReferenceConvolution {
  /// Row-major values with a shape `[N, C, spatial…]`.
  package struct Array {
    package var shape: [Int]
    package var values: [Double]

    package init(shape: [Int], values: [Double]) {
      self.shape = shape
      self.values = values
    }
    package init(_ tensor: Tensor) throws {
      shape = tensor.shape.dimensions
      values = try tensor.cast(to: .float64).scalars(Double.self)
    }
  }

  /// Input index of output `o` and tap `k` on one axis of a convolution, or nil for a zero of the padding.
  private static func source(_ g: ConvolutionGeometry, _ axis: Int, _ o: Int, _ k: Int, _ size: Int) -> Int? {
    var i = o * g.stride[axis] + k * g.dilation[axis] - g.paddingLow[axis]
    if i >= 0, i < size { return i }
    switch g.paddingMode {
    case .zeros: return nil
    case .replicate: return i < 0 ? 0 : size - 1
    case .circular: return ((i % size) + size) % size
    case .reflect:
      while i < 0 || i >= size { i = i < 0 ? -i : 2 * (size - 1) - i }
      return i
    }
  }

  /// For each axis the triples (output, input, tap) that a convolution from `inputSize` to `outputSize` connects.
  private static func links(_ g: ConvolutionGeometry, _ inputSize: [Int], _ outputSize: [Int]) -> [[(
    o: Int, i: Int, k: Int
  )]] {
    (0..<g.rank).map { axis in
      (0..<outputSize[axis]).flatMap { o in
        (0..<g.kernelSize[axis]).compactMap { k in
          source(g, axis, o, k, inputSize[axis]).map { (o, $0, k) }
        }
      }
    }
  }

  /// Calls `visit(output offset, input offset, kernel offset)` for all spatial combinations.
  private static func walk(
    _ links: [[(o: Int, i: Int, k: Int)]], _ out: [Int], _ input: [Int], _ kernel: [Int],
    _ visit: (Int, Int, Int) -> Void
  ) {
    func go(_ axis: Int, _ o: Int, _ i: Int, _ k: Int) {
      if axis == links.count { return visit(o, i, k) }
      for link in links[axis] {
        go(axis + 1, o * out[axis] + link.o, i * input[axis] + link.i, k * kernel[axis] + link.k)
      }
    }
    go(0, 0, 0, 0)
  }

  /// The output for input `x` `[N, C, spatial…]`, weight in PyTorch's order and bias.
  package static func forward(_ g: ConvolutionGeometry, x: Array, weight: Array, bias: Array?) throws -> Array {
    let inputSize = Swift.Array(x.shape.dropFirst(2))
    let outputSize = try g.outputSize(inputSize)
    let (inCount, outCount, taps) = (inputSize.reduce(1, *), outputSize.reduce(1, *), g.kernelSize.reduce(1, *))
    var y = Array(shape: [x.shape[0], g.outChannels] + outputSize, values: [])
    y.values = (0..<(x.shape[0] * g.outChannels * outCount)).map { bias?.values[$0 / outCount % g.outChannels] ?? 0 }
    let (inGroup, outGroup) = (g.inChannels / g.groups, g.outChannels / g.groups)
    // A transposed convolution sends values the way its convolution, from output to input, fetches them.
    let links = g.isTransposed ? links(g, outputSize, inputSize) : links(g, inputSize, outputSize)
    for n in 0..<x.shape[0] {
      for o in 0..<g.outChannels {
        for c in 0..<inGroup {
          let input = (n * g.inChannels + o / outGroup * inGroup + c) * inCount
          let output = (n * g.outChannels + o) * outCount
          if g.isTransposed {
            let w = ((o / outGroup * inGroup + c) * outGroup + o % outGroup) * taps
            walk(links, inputSize, outputSize, g.kernelSize) { i, o, k in
              y.values[output + o] += x.values[input + i] * weight.values[w + k]
            }
          } else {
            let w = (o * inGroup + c) * taps
            walk(links, outputSize, inputSize, g.kernelSize) { o, i, k in
              y.values[output + o] += x.values[input + i] * weight.values[w + k]
            }
          }
        }
      }
    }
    return y
  }
}
