import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// The domain ai.onnx.ml: what stands before and behind feature extractors.
extension OperatorTable {
  static let features: [String: OperatorMaker] = [
    "Scaler": { node in
      let (offset, scale) = (try node.floats("offset") ?? [0], try node.floats("scale") ?? [1])
      return { x in
        let input = try x(0).cast(to: .float32)
        func row(_ numbers: [Double]) throws -> Tensor {
          guard numbers.count == 1 || numbers.count == input.shape.last else {
            throw x.refuse("one number or one for each of \(input.shape.last ?? 0) columns", got: "\(numbers.count)")
          }
          return try Tensor(numbers.map { Float($0) }, shape: nil)
        }
        return [try (input - row(offset)) * row(scale)]
      }
    },
    "Normalizer": { node in
      let norm = try node.string("norm", "MAX")
      guard ["MAX", "L1", "L2"].contains(norm) else { throw node.refuse("norm MAX, L1 or L2", got: norm) }
      return { x in
        let input = try x(0).cast(to: .float32)
        let divisor: Tensor
        switch norm {
        case "MAX": divisor = try input.max([-1], keepsAxes: true)
        case "L1": divisor = try input.abs().sum([-1], keepsAxes: true)
        default: divisor = try (input * input).sum([-1], keepsAxes: true).sqrt()
        }
        // Where it is zero elements stay.
        return [try Tensor.where(divisor.equal(divisor.scalar(0)), input, input / divisor)]
      }
    },
    "Binarizer": { node in
      let threshold = try node.float("threshold", 0)
      return { [try $0(0).greater($0(0).scalar(threshold)).cast(to: $0(0).dtype)] }
    },
    // Maps of numbers under names are given as the numbers, in the order of the names.
    "ZipMap": { node in
      let count = try node.ints("classlabels_int64s")?.count ?? node.strings("classlabels_strings")?.count
      return { x in
        let numbers = try x(0)
        guard count == nil || count == numbers.shape.last else {
          throw x.refuse(.shape, "\(count ?? 0) columns, one for each name", got: "\(numbers.shape)")
        }
        return [numbers]
      }
    },
  ]

  static let featureValues: [String: ValueMaker] = [
    "ArrayFeatureExtractor": { _ in
      { x in
        let places = try x(1).reshaped([-1])
        guard case .strings(let strings) = try x.value(0) else {
          let input = try x(0)
          return [.tensor(try (input.rank == 1 ? input.unsqueezed(0) : input).gathered(places, axis: -1))]
        }
        return [try gatheredStrings(strings, places, axis: -1, x)]
      }
    },
    "LabelEncoder": { node in
      let keys = try LabelList(node, "keys", older: "classes_strings")
      let values = try LabelList(node, "values", older: nil)
      let rule = try LabelRule(node, keys, values)
      return { [try rule($0)] }
    },
  ]
}

/// Labels of one kind.
private enum LabelList: Sendable {
  case strings([String])
  /// A vector.
  case numbers(Tensor)
  case none

  init(_ node: OperatorNode, _ name: String, older: String?) throws {
    if let list = try node.strings("\(name)_strings") ?? older.flatMap({ try node.strings($0) }) {
      self = .strings(list)
    } else if let list = try node.ints("\(name)_int64s") {
      self = .numbers(try Tensor(list.map { Int64($0) }, shape: nil, device: .cpu))
    } else if let list = try node.floats("\(name)_floats") {
      self = .numbers(try Tensor(list.map { Float($0) }, shape: nil))
    } else if let value = try node.value("\(name)_tensor") {
      switch value {
      case .strings(let strings): self = .strings(strings.elements)
      case .tensor(let tensor): self = .numbers(try tensor.reshaped([-1]))
      default: self = .none
      }
    } else {
      self = .none
    }
  }

  var count: Int {
    switch self {
    case .strings(let list): list.count
    case .numbers(let list): list.count
    case .none: 0
    }
  }
}

/// Elements replaced by those that stand beside them in a list.
private struct LabelRule: Sendable {
  private var strings: [String: Int] = [:]
  private var numbers: [Int64: Int] = [:]
  private var keys: LabelList
  private var values: LabelList
  private var otherwise = "_Unused"

  init(_ node: OperatorNode, _ keys: LabelList, _ values: LabelList) throws {
    (self.keys, self.values) = (keys, values)
    // The first version has a list of strings, which stand for their places.
    if case .none = values, case .strings(let list) = keys {
      self.values = .numbers(try Tensor.range(to: Double(list.count), dtype: .int64))
    }
    guard keys.count == self.values.count, keys.count > 0 else {
      throw node.refuse("as many values as keys", got: "\(self.values.count) and \(keys.count)")
    }
    // A key that stands there twice means its last value.
    switch keys {
    case .strings(let list): for (index, key) in list.enumerated() { strings[key] = index }
    case .numbers(let list): for (index, key) in try list.labelKeys().enumerated() { numbers[key] = index }
    case .none: break
    }
    otherwise = try node.string("default_string", otherwise)
    if case .strings(let given) = try node.value("default_tensor"), let first = given.elements.first {
      otherwise = first
    }
    // What is found nowhere is the last value.
    guard case .numbers(let list) = self.values else { return }
    var last = try Tensor.full([1], node.float("default_float", -0.0), dtype: list.dtype)
    if !list.dtype.isFloatingPoint { last = try Tensor([Int64(node.int("default_int64", -1))]).cast(to: list.dtype) }
    if case .tensor(let given) = try node.value("default_tensor") {
      last = try given.reshaped([1]).cast(to: list.dtype)
    }
    self.values = .numbers(try Tensor.concatenate([list, last]))
  }

  func callAsFunction(_ x: Operands) throws -> ModelValue {
    let (places, shape): ([Int?], TensorShape)
    switch (keys, try x.value(0)) {
    case (.strings, .strings(let given)): (places, shape) = (given.elements.map { strings[$0] }, given.shape)
    case (.numbers(let list), .tensor(let given)) where list.dtype.isFloatingPoint == given.dtype.isFloatingPoint:
      (places, shape) = (try given.labelKeys().map { numbers[$0] }, given.shape)
    // The first version goes from numbers back to strings.
    case (.strings(let list), .tensor(let given)) where given.dtype.isInteger:
      let elements = try given.cast(to: .int64).scalars(Int64.self)
      return .strings(
        try StringTensor(
          elements.map { list.indices.contains(Int($0)) ? list[Int($0)] : otherwise }, shape: given.shape))
    case (_, let other): throw x.refuse("elements of the keys' type", got: other.description)
    }
    switch values {
    case .strings(let list):
      return .strings(try StringTensor(places.map { $0.map { list[$0] } ?? otherwise }, shape: shape))
    case .numbers(let list):
      let found = places.map { Int64($0 ?? list.count - 1) }
      return .tensor(try list.gathered(Tensor(found, shape: shape, device: .cpu), axis: 0))
    case .none: throw x.refuse("values", got: "none")
    }
  }
}

extension Tensor {
  /// Elements as keys: whole numbers as they are, others by their bits; all NaN are one, and both zeros.
  fileprivate func labelKeys() throws -> [Int64] {
    guard dtype.isFloatingPoint else { return try cast(to: .int64).scalars(Int64.self) }
    return try cast(to: .float64).scalars(Double.self).map { number in
      Int64(bitPattern: (number.isNaN ? Double.nan : number == 0 ? 0 : number).bitPattern)
    }
  }
}
