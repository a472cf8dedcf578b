import ToeplitzOps
import ToeplitzTensor

/// The attributes of `Resize` that say where output positions lie and how they are filled.
private struct ResizeRule: Sendable {
  var mode: String
  var coordinates: String
  var nearestMode: String
  var cubicCoefficient: Double
  var excludesOutside: Bool
  var extrapolation: Double
  var antialias: Bool

  static let coordinateModes = [
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    "tf_crop_and_resize",
  ]

  init(_ node: OperatorNode) throws {
    mode = try node.string("mode", "nearest")
    guard ["nearest", "linear", "cubic"].contains(mode) else {
      throw node.refuse("mode nearest, linear or cubic", got: mode)
    }
    // Opsets up to 10 knew one rule.
    let isOld = node.opset < 11
    coordinates = try node.string("coordinate_transformation_mode", isOld ? "asymmetric" : "half_pixel")
    guard Self.coordinateModes.contains(coordinates) else {
      throw node.refuse("a known coordinate_transformation_mode", got: coordinates)
    }
    nearestMode = try node.string("nearest_mode", isOld ? "floor" : "round_prefer_floor")
    guard ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"].contains(nearestMode) else {
      throw node.refuse("a known nearest_mode", got: nearestMode)
    }
    cubicCoefficient = try node.float("cubic_coeff_a", -0.75)
    excludesOutside = try node.flag("exclude_outside")
    extrapolation = try node.float("extrapolation_value", 0)
    antialias = try node.flag("antialias")
  }

  /// Where output position `index` lies in the input.
  private func position(_ index: Int, _ length: Int, _ size: Int, _ scale: Double, _ roi: (Double, Double)) -> Double {
    let x = Double(index)
    switch coordinates {
    case "half_pixel": return (x + 0.5) / scale - 0.5
    case "half_pixel_symmetric":
      let adjustment = Double(size) / (scale * Double(length))
      return Double(length) / 2 * (1 - adjustment) + (x + 0.5) / scale - 0.5
    case "pytorch_half_pixel": return size > 1 ? (x + 0.5) / scale - 0.5 : 0
    case "align_corners":
      // The whole number of positions, as PyTorch and ONNX Runtime do; ONNX's reference takes length times scale.
      return size == 1 ? 0 : x * Double(length - 1) / Double(size - 1)
    case "asymmetric": return x / scale
    case "tf_half_pixel_for_nn": return (x + 0.5) / scale
    default:
      let span = Double(length - 1)
      return size > 1
        ? roi.0 * span + x * (roi.1 - roi.0) * span / Double(size - 1) : 0.5 * (roi.0 + roi.1) * span
    }
  }

  func apply(
    _ x: Tensor, axis: Int, size: Int, scale: Double, roi: (Double, Double)
  ) throws -> Tensor {
    let length = x.shape[axis]
    if size == length, scale == 1, coordinates != "tf_crop_and_resize" { return x }
    guard length > 0, size > 0, scale > 0, scale.isFinite else {
      throw ToeplitzError(
        .shape, "Resize", expected: "positions to sample on axis \(axis)", got: "\(length) to \(size) by \(scale)")
    }
    let isPlain = ["half_pixel", "pytorch_half_pixel"].contains(coordinates) && size > 1
    if mode == "linear", !antialias, x.dtype.isFloatingPoint, isPlain || coordinates == "align_corners" {
      return try x.resampled(
        axis: axis, size: size, .linear, factor: scale, alignCorners: coordinates == "align_corners")
    }
    if mode == "nearest", coordinates == "asymmetric", nearestMode == "floor", scale.rounded() == scale {
      return try x.resampled(axis: axis, size: size, .nearest, factor: scale)
    }
    // Positions take a list each: a few numbers can ask for a great many.
    guard size <= 1 << 21 else {
      throw ToeplitzError(.shape, "Resize", expected: "at most \(1 << 21) positions on an axis", got: "\(size)")
    }
    let terms = (0..<size).map { index -> [(position: Int, weight: Double)]? in
      // Far outside, where floating-point numbers no longer tell neighbours apart, all positions are the edge.
      let exact = position(index, length, size, scale, roi)
      let here = exact.isNaN ? 0 : min(max(exact, -1e9), 1e9)
      if coordinates == "tf_crop_and_resize", here < 0 || here > Double(length - 1) { return nil }
      return merged(weights(here, scale), length)
    }
    return try x.resampled(axis: axis, terms: terms, fill: extrapolation)
  }

  /// The weights around a position; positions may lie outside the input.
  private func weights(_ here: Double, _ scale: Double) -> [(Double, Double)] {
    let floor = here.rounded(.down)
    let rest = here - floor
    switch mode {
    case "nearest":
      let up: Bool
      switch nearestMode {
      case "round_prefer_floor": up = rest > 0.5
      case "round_prefer_ceil": up = rest >= 0.5
      case "ceil": up = rest > 0
      default: up = false
      }
      return [(up ? floor + 1 : floor, 1)]
    case "linear":
      guard antialias else { return rest == 0 ? [(floor, 1)] : [(floor, 1 - rest), (floor + 1, rest)] }
      return wide(here, scale, reach: 1) { max(0, 1 - abs($0)) }
    default:
      func cubic(_ distance: Double) -> Double {
        Interpolation.cubicWeight(distance, coefficient: cubicCoefficient)
      }
      guard antialias else { return (-1...2).map { (floor + Double($0), cubic(Double($0) - rest)) } }
      return wide(here, scale, reach: 2, cubic)
    }
  }

  /// A kernel widened as much as the axis shrinks, so that no input is passed over.
  private func wide(
    _ here: Double, _ scale: Double, reach: Double, _ kernel: (Double) -> Double
  ) -> [(Double, Double)] {
    let shrink = min(scale, 1)
    let floor = here.rounded(.down)
    let span = min((reach / shrink).rounded(.up), 1e6)
    let all = stride(from: floor - span, through: floor + span + 1, by: 1).map { ($0, kernel(($0 - here) * shrink)) }
    let sum = all.reduce(0) { $0 + $1.1 }
    return all.filter { $0.1 != 0 }.map { ($0.0, $0.1 / sum) }
  }

  /// Positions outside take the edge's element, or do not count.
  private func merged(_ weights: [(Double, Double)], _ length: Int) -> [(position: Int, weight: Double)] {
    var terms: [(position: Int, weight: Double)] = []
    let last = Double(length - 1)
    let counted = excludesOutside ? weights.filter { $0.0 >= 0 && $0.0 <= last } : weights
    let sum = excludesOutside ? counted.reduce(0) { $0 + $1.1 } : 1
    for (position, weight) in counted {
      let at = position.isNaN ? 0 : Int(min(max(position, 0), last))
      if let end = terms.indices.last, terms[end].position == at {
        terms[end].weight += weight / sum
      } else {
        terms.append((at, weight / sum))
      }
    }
    return terms
  }
}

extension OperatorTable {
  static let resizing: [String: OperatorMaker] = [
    "Resize": { node in
      let rule = try ResizeRule(node)
      let axes = try node.ints("axes")
      let policy = try node.string("keep_aspect_ratio_policy", "stretch")
      guard ["stretch", "not_larger", "not_smaller"].contains(policy) else {
        throw node.refuse("a known keep_aspect_ratio_policy", got: policy)
      }
      let isOld = node.opset < 11
      let scalesAt = isOld ? 1 : 2
      return { x in
        let input = try x(0)
        let at = try axes?.map { try input.shape.normalizedAxis($0, operation: "Resize") } ?? Array(0..<input.rank)
        func numbers(_ index: Int) throws -> [Double]? {
          guard let tensor = x.optional(index), tensor.count > 0 else { return nil }
          return try tensor.cast(to: .float64).scalars(Double.self)
        }
        let roi = isOld ? nil : try numbers(1)
        var scales = try numbers(scalesAt)
        var sizes = try x.optional(3).flatMap { $0.count > 0 ? try $0.wholeNumbers("Resize") : nil }
        if let wanted = sizes {
          guard wanted.count == at.count else { throw x.refuse("\(at.count) sizes", got: "\(wanted.count)") }
          let ratios = zip(wanted, at).map { Double($0) / Double(max(input.shape[$1], 1)) }
          let common = policy == "not_larger" ? ratios.min() : policy == "not_smaller" ? ratios.max() : nil
          scales = common.map { Array(repeating: $0, count: at.count) } ?? ratios
          if let common { sizes = try at.map { try wholeSize(Double(input.shape[$0]) * common + 0.5) } }
        }
        guard let scales, scales.count == at.count else {
          throw x.refuse("a scale or size for \(at.count) axes", got: "\(scales?.count ?? 0)")
        }
        if let roi, rule.coordinates == "tf_crop_and_resize", roi.count != 2 * at.count {
          throw x.refuse("a region of \(2 * at.count) numbers", got: "\(roi.count)")
        }
        var result = input
        let all = try at.indices.map { try sizes?[$0] ?? wholeSize(Double(input.shape[at[$0]]) * scales[$0]) }
        // Axes that shrink first, then the innermost: so there is least to compute.
        let order = at.indices.sorted { a, b in
          let (one, two) = (all[a] > input.shape[at[a]], all[b] > input.shape[at[b]])
          return one == two ? (one ? at[a] > at[b] : at[a] < at[b]) : two
        }
        for index in order {
          let (axis, size) = (at[index], all[index])
          let region = roi.map { $0.count == 2 * at.count ? ($0[index], $0[index + at.count]) : (0, 1) } ?? (0, 1)
          result = try rule.apply(result, axis: axis, size: size, scale: scales[index], roi: region)
        }
        return [result]
      }
    },
    "GridSample": { node in
      let names: [String: Interpolation] = [
        "linear": .linear, "bilinear": .linear, "nearest": .nearest, "cubic": .cubic, "bicubic": .cubic,
      ]
      let mode = try node.string("mode", node.opset < 20 ? "bilinear" : "linear")
      let padding = try node.string("padding_mode", "zeros")
      guard let interpolation = names[mode] else { throw node.refuse("mode linear, nearest or cubic", got: mode) }
      guard let known = GridPadding(rawValue: padding) else {
        throw node.refuse("padding_mode zeros, border or reflection", got: padding)
      }
      let alignCorners = try node.flag("align_corners")
      return { x in
        let input = try x(0)
        return [
          try input.gridSample(
            x(1).cast(to: input.dtype), interpolation, padding: known, alignCorners: alignCorners)
        ]
      }
    },
    "AffineGrid": { node in
      let alignCorners = try node.flag("align_corners")
      return { x in
        let size = try x(1).wholeNumbers("AffineGrid")
        guard size.count == 4 || size.count == 5, size.allSatisfy({ $0 >= 0 }) else {
          throw x.refuse("a size of 4 or 5 numbers", got: "\(size)")
        }
        return [try x(0).affineGrid(size: Array(size.dropFirst(2)), alignCorners: alignCorners)]
      }
    },
    "Upsample": { node in
      let rule = try ResizeRule(node)
      let fixed = try node.floats("scales")
      return { x in
        let input = try x(0)
        guard let scales = try fixed ?? x.optional(1)?.cast(to: .float64).scalars(Double.self),
          scales.count == input.rank
        else { throw x.refuse("\(input.rank) scales", got: "others") }
        var result = input
        for (axis, scale) in scales.enumerated() {
          let size = try wholeSize(Double(input.shape[axis]) * scale)
          result = try rule.apply(result, axis: axis, size: size, scale: scale, roi: (0, 1))
        }
        return [result]
      }
    },
  ]

  private static func wholeSize(_ size: Double) throws -> Int {
    guard size >= 0, size < 0x1p24 else {
      throw ToeplitzError(.shape, "Resize", expected: "a size below 2²⁴", got: "\(size)")
    }
    return Int(size)
  }
}

// MARK: Export

extension Resample: ExportableOperation {
  func exported(_ inputs: [TensorSpec], _ outputs: [TensorSpec]) throws -> [ExportNode] {
    let axis = try inputs[0].shape.normalizedAxis(axis, operation: name)
    switch rule {
    case .interpolated(let samples): return try exported(samples, axis, inputs[0].shape, outputs[0].shape)
    case .weighted(let terms, let fill): return try exported(terms, fill, axis, inputs[0])
    }
  }

  private func exported(_ samples: EvenSamples, _ axis: Int, _ shape: TensorShape, _ output: TensorShape) throws
    -> [ExportNode]
  {
    let (size, factor) = (samples.size, samples.factor)
    var scales = [Float](repeating: 1, count: shape.rank)
    scales[axis] = Float(factor ?? Double(size) / Double(shape[axis]))
    let known = factor == nil || Int((Double(shape[axis]) * (factor ?? 1)).rounded(.down)) == size
    guard known else { throw unexportable("a size of \(size) at factor \(factor ?? 1)") }
    var attributes: [String: ExportNode.Attribute]
    switch samples.interpolation {
    case .nearest:
      attributes = [
        "mode": .string("nearest"), "coordinate_transformation_mode": .string("asymmetric"),
        "nearest_mode": .string("floor"),
      ]
    case .nearestExact: attributes = ["mode": .string("nearest"), "nearest_mode": .string("round_prefer_ceil")]
    case .linear: attributes = ["mode": .string("linear")]
    case .cubic: attributes = ["mode": .string("cubic")]
    }
    if samples.alignCorners { attributes["coordinate_transformation_mode"] = .string("align_corners") }
    if factor == nil {
      let sizes = try numbers(output.dimensions)
      return [ExportNode("Resize", [.input(0), .none, .none, sizes], attributes)]
    }
    return [ExportNode("Resize", [.input(0), .none, .constant(try Tensor(scales))], attributes)]
  }

  private func exported(_ terms: [[Term]?], _ fill: Double, _ axis: Int, _ input: TensorSpec) throws -> [ExportNode] {
    // A product with the matrix of the weights, the axis at the end; where nothing is a term, a shift.
    let rank = input.shape.rank
    let (length, count) = (input.shape[axis], terms.count)
    var matrix = [Double](repeating: 0, count: length * count)
    var shift = [Double](repeating: 0, count: count)
    for (index, terms) in terms.enumerated() {
      for term in terms ?? [] { matrix[term.position * count + index] += term.weight }
      if terms == nil { shift[index] = fill }
    }
    var order = Array(0..<rank)
    order.swapAt(axis, rank - 1)
    func constant(_ values: [Double], _ shape: TensorShape) throws -> ExportNode.Operand {
      .constant(try Tensor(values, shape: shape, device: .cpu).cast(to: input.dtype))
    }
    return try [
      ExportNode("Transpose", [.input(0)], ["perm": .ints(order)]),
      ExportNode("MatMul", [.node(0), constant(matrix, [length, count])]),
      ExportNode("Add", [.node(1), constant(shift, [count])]),
      ExportNode("Transpose", [.node(2)], ["perm": .ints(order)]),
    ]
  }
}
