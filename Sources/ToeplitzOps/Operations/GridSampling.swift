import ToeplitzTensor

/// What is read where a position lies outside an input.
public enum GridPadding: String, Sendable, Hashable, CaseIterable {
  /// Zeros.
  case zeros
  /// The nearest element of the border.
  case border
  /// The elements mirrored at the border, as often as needed.
  case reflection
}

/// Samples of an input at positions that a grid names; a composition of operations.
private struct GridSampler {
  var interpolation: Interpolation
  var padding: GridPadding
  var alignCorners: Bool

  /// For one axis of `size`: the elements that a sample is made of, with their weights, each `[N, …]`.
  func terms(_ grid: Tensor, _ size: Int) throws -> [(index: Tensor, weight: Tensor)] {
    let length = Double(size)
    // From [-1, 1] to elements: corners are elements, or half an element beyond them.
    let position = try alignCorners ? (grid + 1) * ((length - 1) / 2) : (grid + 1) * (length / 2) - 0.5
    switch interpolation {
    case .nearest, .nearestExact:
      let nearest = try moved(position, size).round()
      return [try term(nearest, nil, size)]
    case .linear:
      let position = try moved(position, size)
      let low = try position.floor()
      let rest = try position - low
      return [try term(low, rest.negated() + 1, size), try term(low + 1, rest, size)]
    case .cubic:
      // Elements are moved, not the position.
      let low = try position.floor()
      let rest = try position - low
      return try (-1...2).map { offset in
        try term(moved(low + Double(offset), size), cubicWeight((rest - Double(offset)).abs()), size)
      }
    }
  }

  /// A position as the padding moves it into the input.
  private func moved(_ position: Tensor, _ size: Int) throws -> Tensor {
    switch padding {
    case .zeros: return position
    case .border: return try position.clip(from: 0, to: Double(size - 1))
    case .reflection:
      let (low, span) = alignCorners ? (0.0, Double(size - 1)) : (-0.5, Double(size))
      guard span > 0 else { return try position * 0 }
      let distance = try (position - low).abs()
      let turns = try (distance / span).floor()
      let rest = try distance - turns * span
      let isOdd = try (turns - (turns / 2).floor() * 2).greater(Tensor.full([], 0.5, dtype: position.dtype))
      return try (Tensor.where(isOdd, rest.negated() + span, rest) + low).clip(from: 0, to: Double(size - 1))
    }
  }

  /// An element with its weight, 0 if it lies outside.
  private func term(_ place: Tensor, _ weight: Tensor?, _ size: Int) throws -> (index: Tensor, weight: Tensor) {
    func number(_ value: Double) throws -> Tensor { try Tensor.full([], value, dtype: place.dtype) }
    let last = Double(size - 1)
    let isInside = try place.greaterOrEqual(number(0)).logicalAnd(place.lessOrEqual(number(last)))
    let inside = try isInside.cast(to: place.dtype)
    // NaN is nowhere, and its index must be somewhere.
    let known = try Tensor.where(
      isInside, place, Tensor.where(place.equal(place), place.clip(from: 0, to: last), number(0)))
    return (try known.cast(to: .int64), try weight.map { try Tensor.where(isInside, $0, number(0)) } ?? inside)
  }

  /// The weight of an element at a distance, with a = −0.75 (Keys, 1981).
  private func cubicWeight(_ distance: Tensor) throws -> Tensor {
    let a = -0.75
    let near = try ((distance * (a + 2) - (a + 3)) * distance * distance) + 1
    let far = try ((distance * a - 5 * a) * distance + 8 * a) * distance - 4 * a
    let limit = try Tensor.full([], 1, dtype: distance.dtype)
    let end = try Tensor.full([], 2, dtype: distance.dtype)
    let none = try Tensor.full([], 0, dtype: distance.dtype)
    return try Tensor.where(distance.lessOrEqual(limit), near, Tensor.where(distance.less(end), far, none))
  }
}

extension Tensor {
  /// Samples of this input `[N, C, spatial…]` at the positions of a grid `[N, out…, r]` for its r spatial axes, the last axis
  /// first, between −1 and 1; as PyTorch's `grid_sample`.
  ///
  /// - Parameters:
  ///   - interpolation: nearest, linear (of each axis), or cubic.
  ///   - padding: what lies outside.
  ///   - alignCorners: whether −1 and 1 are the middles of the first and last element, or their outer edges.
  /// - Returns: `[N, C, out…]`.
  /// - Throws: ``ToeplitzError`` if the shapes or types do not fit.
  public func gridSample(
    _ grid: Tensor, _ interpolation: Interpolation = .linear, padding: GridPadding = .zeros, alignCorners: Bool = false
  ) throws -> Tensor {
    let axes = rank - 2
    guard axes >= 1, grid.rank == rank, grid.shape[grid.rank - 1] == axes, grid.shape[0] == shape[0] else {
      throw ToeplitzError(
        .shape, "gridSample", expected: "an input [N, C, spatial…] and a grid [N, out…, axes]",
        got: "\(shape) and \(grid.shape)")
    }
    guard dtype.isFloatingPoint, grid.dtype == dtype else {
      throw ToeplitzError(
        .dtype, "gridSample", expected: "floating-point elements of one type", got: "\(dtype) and \(grid.dtype)")
    }
    let sizes = Array(shape.dimensions[2...])
    guard !sizes.contains(0) else {
      throw ToeplitzError(.shape, "gridSample", expected: "at least one element to sample", got: "shape \(shape)")
    }
    let output = Array(grid.shape.dimensions[1..<(rank - 1)])
    let (batch, count) = (shape[0], output.reduce(1, *))
    let sampler = GridSampler(interpolation: interpolation, padding: padding, alignCorners: alignCorners)
    let flat = try grid.reshaped([batch, count, axes])
    let terms = try (0..<axes).map { axis in
      try sampler.terms(flat.select(axis: 2, axes - 1 - axis), sizes[axis])
    }
    // Channels last, so that a sample's channels are read at once.
    let rows = try reshaped([batch, shape[1], sizes.reduce(1, *)]).transposed(1, 2)
    var sum: Tensor?
    for choice in 0..<terms.reduce(1, { $0 * $1.count }) {
      var (rest, index, weight): (Int, Tensor?, Tensor?) = (choice, nil, nil)
      for axis in 0..<axes {
        let term = terms[axis][rest % terms[axis].count]
        rest /= terms[axis].count
        let size = try Tensor(scalar: Int64(sizes[axis]))
        index = try index.map { try $0 * size + term.index } ?? term.index
        weight = try weight.map { try $0 * term.weight } ?? term.weight
      }
      guard let index, let weight else { continue }
      let part = try rows.gatheredND(index.unsqueezed(2), batch: 1) * weight.unsqueezed(2)
      sum = try sum.map { try $0 + part } ?? part
    }
    guard let sum else { return self }
    return try sum.transposed(1, 2).reshaped(TensorShape([batch, shape[1]] + output))
  }

  /// The grid of affine maps `[N, r, r + 1]` for an output of some spatial size, as ``gridSample(_:_:padding:alignCorners:)`` takes
  /// it; as PyTorch's `affine_grid`.
  ///
  /// - Returns: `[N, size…, r]`.
  /// - Throws: ``ToeplitzError`` if the shape is another.
  public func affineGrid(size: [Int], alignCorners: Bool = false) throws -> Tensor {
    let axes = size.count
    guard rank == 3, shape[1] == axes, shape[2] == axes + 1, dtype.isFloatingPoint else {
      throw ToeplitzError(.shape, "affineGrid", expected: "maps [N, \(axes), \(axes + 1)]", got: "\(spec)")
    }
    let count = try TensorShape(size).elementCount("affineGrid")
    func place(_ index: Int, _ length: Int) -> Double {
      if alignCorners { return length > 1 ? Double(2 * index) / Double(length - 1) - 1 : 0 }
      return Double(2 * index + 1) / Double(length) - 1
    }
    var points: [Double] = []
    points.reserveCapacity(count * (axes + 1))
    for at in 0..<count {
      // The last axis first, and 1 for the shift.
      var rest = at
      for axis in (0..<axes).reversed() {
        points.append(place(rest % size[axis], size[axis]))
        rest /= size[axis]
      }
      points.append(1)
    }
    let base = try Tensor(points, shape: [count, axes + 1], device: .cpu).cast(to: dtype)
    return try base.matmul(transposed(1, 2)).reshaped(TensorShape([shape[0]] + size + [axes]))
  }
}
