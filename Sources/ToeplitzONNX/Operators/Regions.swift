import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  static let regions: [String: OperatorMaker] = [
    "RoiAlign": { node in
      let rule = try RegionAlignment(node)
      return node.computed { [try rule($0(0), $0(1), $0.ints(2), $0)] }
    },
    "MaxRoiPool": { node in
      let size = try node.ints("pooled_shape") ?? []
      let scale = try node.float("spatial_scale", 1)
      guard size.count == 2, size.allSatisfy({ (1...(1 << 16)).contains($0) }) else {
        throw node.refuse("a pooled_shape of two sizes", got: "\(size)")
      }
      return node.computed { [try maxPooledRegions($0(0), $0(1), size, scale, $0)] }
    },
    "Col2Im": { node in
      let (dilations, pads, strides) = (try node.ints("dilations"), try node.ints("pads"), try node.ints("strides"))
      return { x in
        let (sizes, block) = (try x.ints(1), try x.ints(2))
        let fold = try Fold(sizes, block, dilations: dilations, pads: pads, strides: strides, x)
        return [try fold(x(0), x)]
      }
    },
    "DeformConv": { node in
      var convolution = try node.convolution()
      convolution.padding = try node.padding()
      let offsetGroups = try node.int("offset_group", 1)
      return { [convolution] x in try [convolution.deformed(x, offsetGroups: offsetGroups)] }
    },
  ]

  /// The largest elements of parts of regions, whose corners are rounded to elements (Girshick, <https://arxiv.org/abs/1504.08083>).
  private static func maxPooledRegions(
    _ input: Tensor, _ regions: Tensor, _ size: [Int], _ scale: Double, _ x: Operands
  ) throws -> Tensor {
    guard input.rank == 4, regions.rank == 2, regions.shape[1] == 5 else {
      throw x.refuse(.shape, "an input [N, C, H, W] and regions [n, 5]", got: "\(input.shape) and \(regions.shape)")
    }
    let (channels, height, width) = (input.shape[1], input.shape[2], input.shape[3])
    let (numbers, places) = (
      try input.cast(to: .float64).scalars(Double.self), try regions.cast(to: .float64).scalars(Double.self)
    )
    let shape = TensorShape([regions.shape[0], channels] + size)
    let result = try Tensor.zeros(shape, dtype: .float64)
    let y = result.pointer(Double.self)
    var at = 0
    for region in 0..<regions.shape[0] {
      let part = places[(region * 5)..<(region * 5 + 5)].map { $0 }
      guard part[0] >= 0, part[0] < Double(input.shape[0]), part[1...].allSatisfy({ abs($0 * scale) < 1e6 }) else {
        throw x.refuse("regions of samples 0..<\(input.shape[0]) within a million elements", got: "\(part)")
      }
      // Halves are rounded as they come out in single precision.
      let corners = part[1...].map { Int((Float($0) * Float(scale)).rounded(.toNearestOrAwayFromZero)) }
      func bounds(_ first: Int, _ last: Int, _ count: Int, _ limit: Int) -> [Range<Int>] {
        let length = Double(max(last - first + 1, 1)) / Double(count)
        return (0..<count).map { index in
          let low = min(max(Int((Double(index) * length).rounded(.down)) + first, 0), limit)
          let high = min(max(Int((Double(index + 1) * length).rounded(.up)) + first, 0), limit)
          return low..<max(low, high)
        }
      }
      let rows = bounds(corners[1], corners[3], size[0], height)
      let columns = bounds(corners[0], corners[2], size[1], width)
      for channel in 0..<channels {
        let plane = (Int(part[0]) * channels + channel) * height * width
        for row in rows {
          for column in columns {
            var most = row.isEmpty || column.isEmpty ? 0 : -Double.infinity
            for i in row { for j in column { most = max(most, numbers[plane + i * width + j]) } }
            y[at] = most
            at += 1
          }
        }
      }
    }
    withExtendedLifetime(result) {}
    return try result.cast(to: input.dtype)
  }
}

/// Samples between elements in regions, as Mask R-CNN takes them (He et al., <https://arxiv.org/abs/1703.06870>).
private struct RegionAlignment: Sendable {
  var size: (height: Int, width: Int)
  var scale: Double
  var ratio: Int
  var isMaximum: Bool
  var isHalfPixel: Bool

  init(_ node: OperatorNode) throws {
    size = (try node.int("output_height", 1), try node.int("output_width", 1))
    scale = try node.float("spatial_scale", 1)
    ratio = try node.int("sampling_ratio", 0)
    let mode = try node.string("mode", "avg")
    let coordinates = try node.string(
      "coordinate_transformation_mode", node.opset < 16 ? "output_half_pixel" : "half_pixel")
    guard ["avg", "max"].contains(mode), ["half_pixel", "output_half_pixel"].contains(coordinates),
      (1...(1 << 16)).contains(size.height), (1...(1 << 16)).contains(size.width), (0...(1 << 10)).contains(ratio)
    else {
      throw node.refuse("mode avg or max, half_pixel or output_half_pixel, and sizes of at least 1", got: "others")
    }
    (isMaximum, isHalfPixel) = (mode == "max", coordinates == "half_pixel")
  }

  /// A sample: four elements and their weights.
  private typealias Sample = (places: SIMD4<Int>, weights: SIMD4<Double>)

  private func sample(_ y: Double, _ x: Double, _ height: Int, _ width: Int) -> Sample {
    guard y >= -1, y <= Double(height), x >= -1, x <= Double(width) else { return (.zero, .zero) }
    func split(_ position: Double, _ size: Int) -> (low: Int, high: Int, rest: Double) {
      let inside = max(position, 0)
      let low = Int(inside)
      return low >= size - 1 ? (size - 1, size - 1, 0) : (low, low + 1, inside - Double(low))
    }
    let (v, h) = (split(y, height), split(x, width))
    return (
      SIMD4(v.low * width + h.low, v.low * width + h.high, v.high * width + h.low, v.high * width + h.high),
      SIMD4((1 - v.rest) * (1 - h.rest), (1 - v.rest) * h.rest, v.rest * (1 - h.rest), v.rest * h.rest)
    )
  }

  func callAsFunction(_ input: Tensor, _ regions: Tensor, _ batch: [Int], _ x: Operands) throws -> Tensor {
    guard input.rank == 4, regions.rank == 2, regions.shape[1] == 4, batch.count == regions.shape[0],
      batch.allSatisfy({ (0..<input.shape[0]).contains($0) })
    else {
      throw x.refuse(
        .shape, "an input [N, C, H, W], regions [n, 4] and n numbers of samples",
        got: "\(input.shape) and \(regions.shape)")
    }
    let (channels, height, width) = (input.shape[1], input.shape[2], input.shape[3])
    let numbers = try input.cast(to: .float64).scalars(Double.self)
    let places = try regions.cast(to: .float64).scalars(Double.self)
    let result = try Tensor.zeros([batch.count, channels, size.height, size.width], dtype: .float64)
    guard height > 0, width > 0 else { return try result.cast(to: input.dtype) }
    let y = result.pointer(Double.self)
    let bins = size.height * size.width
    for (region, number) in batch.enumerated() {
      let corner = (0..<4).map { places[region * 4 + $0] * scale - (isHalfPixel ? 0.5 : 0) }
      var (high, wide) = (corner[3] - corner[1], corner[2] - corner[0])
      if !isHalfPixel { (high, wide) = (max(high, 1), max(wide, 1)) }
      let (binHeight, binWidth) = (high / Double(size.height), wide / Double(size.width))
      func count(_ bin: Double) throws -> Int {
        guard bin.isFinite, bin < 1e4 else { throw x.refuse("regions of a finite size", got: "\(bin)") }
        return ratio > 0 ? ratio : max(0, Int(bin.rounded(.up)))
      }
      let (rows, columns) = (try count(binHeight), try count(binWidth))
      guard rows * columns <= 1 << 20 else { throw x.refuse("at most 2²⁰ samples a bin", got: "\(rows * columns)") }
      for bin in 0..<bins {
        let (top, left) = (
          corner[1] + Double(bin / size.width) * binHeight, corner[0] + Double(bin % size.width) * binWidth
        )
        let samples = (0..<rows * columns).map { index in
          sample(
            top + (Double(index / columns) + 0.5) * binHeight / Double(rows),
            left + (Double(index % columns) + 0.5) * binWidth / Double(columns), height, width)
        }
        for channel in 0..<channels {
          let plane = (number * channels + channel) * height * width
          func terms(_ sample: Sample) -> SIMD4<Double> {
            let (p, w) = (sample.places, sample.weights)
            return w
              * SIMD4(numbers[plane + p[0]], numbers[plane + p[1]], numbers[plane + p[2]], numbers[plane + p[3]])
          }
          y[(region * channels + channel) * bins + bin] =
            isMaximum
            ? samples.map { terms($0).max() }.max() ?? 0
            : samples.reduce(0) { $0 + terms($1).sum() } / Double(max(1, samples.count))
        }
      }
    }
    withExtendedLifetime(result) {}
    return try result.cast(to: input.dtype)
  }
}

/// Blocks added to the image that they were cut from.
private struct Fold {
  private var sizes: [Int]
  private var block: Int
  /// For each element of each block its place in the image; one behind it for what lies outside.
  private var places: [Int64]

  init(
    _ sizes: [Int], _ block: [Int], dilations: [Int]?, pads: [Int]?, strides: [Int]?, _ x: Operands
  ) throws {
    let axes = sizes.count
    let ones = Array(repeating: 1, count: axes)
    let (dilations, strides) = (dilations ?? ones, strides ?? ones)
    let pads = pads ?? Array(repeating: 0, count: 2 * axes)
    guard axes > 0, block.count == axes, dilations.count == axes, strides.count == axes, pads.count == 2 * axes,
      (sizes + block + dilations + strides).allSatisfy({ (1...(1 << 24)).contains($0) }),
      pads.allSatisfy({ (0...(1 << 24)).contains($0) })
    else { throw x.refuse("sizes, blocks, dilations and strides of at least 1 for each axis", got: "others") }
    let counts = (0..<axes).map { axis in
      let padded = sizes[axis] + pads[axis] + pads[axis + axes]
      return (padded - dilations[axis] * (block[axis] - 1) - 1) / strides[axis] + 1
    }
    guard counts.allSatisfy({ $0 > 0 }) else { throw x.refuse(.shape, "at least one block", got: "\(counts)") }
    let elements = try TensorShape(block + counts).elementCount(x.name)
    let whole = try TensorShape(sizes).elementCount(x.name)
    guard elements <= 1 << 24 else { throw x.refuse(.shape, "at most 2²⁴ elements of blocks", got: "\(elements)") }
    (self.sizes, self.block) = (sizes, block.reduce(1, *))
    let all = TensorShape(block + counts)
    let steps = all.contiguousStrides
    places = (0..<elements).map { index in
      var place = 0
      for axis in 0..<axes {
        let offset = index / steps[axis] % block[axis]
        let at = index / steps[axis + axes] % counts[axis] * strides[axis] + offset * dilations[axis] - pads[axis]
        guard (0..<sizes[axis]).contains(at) else { return Int64(whole) }
        place = place * sizes[axis] + at
      }
      return Int64(place)
    }
  }

  func callAsFunction(_ input: Tensor, _ x: Operands) throws -> Tensor {
    guard input.rank == 3, input.shape[1] % block == 0, input.shape[2] * block == places.count else {
      throw x.refuse(.shape, "an input [N, C · \(block), \(places.count / block)]", got: "\(input.shape)")
    }
    let (batch, channels) = (input.shape[0], input.shape[1] / block)
    let count = sizes.reduce(1, *)
    let index = try Tensor(places, shape: [1, 1, places.count], device: .cpu)
    let sums = try Tensor.zeros([batch, channels, count + 1], dtype: input.dtype).scatteredElements(
      input.reshaped([batch, channels, places.count]), at: index.expanded(to: [batch, channels, places.count]), axis: 2,
      reduction: .add)
    return try sums.slice(axis: 2, 0..<count).reshaped(TensorShape([batch, channels] + sizes))
  }
}

extension ConvolutionAttributes {
  /// A convolution whose taps are moved by offsets (Dai et al., <https://arxiv.org/abs/1703.06211>).
  fileprivate func deformed(_ x: Operands, offsetGroups: Int) throws -> Tensor {
    let (input, weight, offsets) = (try x(0), try x(1), try x(2))
    func refuse() -> ToeplitzError {
      x.refuse(
        .shape, "an input [N, C, H, W], a weight [M, C / groups, h, w] and offsets [N, 2 · h · w · offset groups, …]",
        got: "\(input.shape), \(weight.shape) and \(offsets.shape)")
    }
    guard input.rank == 4, weight.rank == 4, offsets.rank == 4, groups > 0, offsetGroups > 0,
      input.shape[1] % offsetGroups == 0, input.shape[1] == weight.shape[1] * groups, weight.shape[0] % groups == 0,
      kernelShape.map({ $0 == Array(weight.shape[2...]) }) ?? true
    else { throw refuse() }
    let (n, c, h, w) = (input.shape[0], input.shape[1], input.shape[2], input.shape[3])
    let kernel = Array(weight.shape[2...])
    let taps = kernel[0] * kernel[1]
    let (rows, columns) = (offsets.shape[2], offsets.shape[3])
    let (strides, dilations) = (strides ?? [1, 1], dilations ?? [1, 1])
    var start = [0, 0]
    if case .explicit(let low, _) = padding { start = low.map { -$0 } }
    guard offsets.shape[0] == n, offsets.shape[1] == 2 * taps * offsetGroups, strides.count == 2, dilations.count == 2,
      start.count == 2, taps > 0, h > 0, w > 0, (strides + dilations + start).allSatisfy({ abs($0) < 1 << 24 })
    else { throw refuse() }
    let positions = rows * columns
    guard try TensorShape([taps, rows, columns]).elementCount(x.name) <= 1 << 24 else { throw refuse() }
    // Where the taps would lie, [1, taps, positions, 2].
    var base: [Double] = []
    for tap in 0..<taps {
      for position in 0..<positions {
        let (row, column) = (position / columns * strides[0], position % columns * strides[1])
        base.append(Double(start[0] + row + tap / kernel[1] * dilations[0]))
        base.append(Double(start[1] + column + tap % kernel[1] * dilations[1]))
      }
    }
    let moved = try offsets.reshaped([n * offsetGroups, taps, 2, positions]).permuted([0, 1, 3, 2])
      .cast(to: input.dtype)
    let places =
      try moved + Tensor(base, shape: [1, taps, positions, 2], device: .cpu).cast(to: input.dtype)
    // Grids count from −1 to 1 over the outer edges, the last axis first.
    let sizes = try Tensor([Double(h), Double(w)] as [Double], shape: nil, device: .cpu).cast(to: input.dtype)
    let grid = try ((places * 2 + 1) / sizes - 1).flipped([3])
    var samples = try input.reshaped([n * offsetGroups, c / offsetGroups, h, w]).gridSample(grid)
    if let mask = x.optional(4) {
      samples = try samples * mask.cast(to: input.dtype).reshaped([n * offsetGroups, 1, taps, positions])
    }
    let matrix = try samples.reshaped([n, groups, c / groups * taps, positions])
    let factors = try weight.reshaped([1, groups, weight.shape[0] / groups, c / groups * taps])
    let y = try factors.matmul(matrix).reshaped([n, weight.shape[0], rows, columns])
    guard let bias = x.optional(3) else { return y }
    return try y + bias.reshaped([1, bias.count, 1, 1])
  }
}
