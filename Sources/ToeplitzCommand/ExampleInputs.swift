import Toeplitz
import ToeplitzGraph

/// Inputs of a model whose sizes nobody has said.
struct ExampleInputs {
  /// What sizes are assumed that the model leaves open.
  struct Choice {
    /// On the first axis, which mostly is the batch.
    var first: Int
    /// On the last axes.
    var last: Int
    /// On those between.
    var between: Int
  }

  /// What is tried one after the other: the usual, then longer (models that halve their input many times want that), then
  /// shorter (those with a table of positions), then axes between that are one, where the batch of a state stands, then first
  /// axes that are no batch.
  static let choices =
    lengths.map { Choice(first: 1, last: $0, between: $0) }
    + lengths.map { Choice(first: 1, last: $0, between: 1) }
    + [64, 512, 4096].map { Choice(first: $0, last: $0, between: $0) }
  private static let lengths = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 32, 16, 8, 4, 2, 1]

  private static let mostStrings = 1 << 20

  private let ports: [PortDescription]
  private let shapes: [String: [Int]]
  /// The sizes that names stand for, as far as they are given.
  private let sizes: [String: Int]
  /// Names that stand on the first axis of some input.
  private let firstNames: Set<String>
  /// Names that stand on the last axis of some input.
  private let lastNames: Set<String>

  /// - Parameters:
  ///   - sizes: sizes by the names that the model gives them.
  ///   - shapes: whole shapes by inputs.
  init(_ ports: [PortDescription], sizes: [String: Int], shapes: [String: [Int]]) {
    (self.ports, self.shapes) = (ports, shapes)
    var known: [String: Int] = [:]
    var (firstNames, lastNames): (Set<String>, Set<String>) = ([], [])
    for port in ports {
      for (axis, dimension) in (port.dimensions ?? []).enumerated() {
        guard case .symbol(let name) = dimension else { continue }
        if let shape = shapes[port.name], axis < shape.count { known[name] = shape[axis] }
        if axis == 0 { firstNames.insert(name) }
        if axis + 1 == port.dimensions?.count { lastNames.insert(name) }
      }
    }
    self.sizes = sizes.merging(known) { given, _ in given }
    (self.firstNames, self.lastNames) = (firstNames, lastNames)
  }

  /// Whether any size is left to choose.
  var isOpen: Bool {
    ports.contains { port in
      port.kind == .sequence || port.kind == .optional
        || shapes[port.name] == nil
          && (port.dimensions ?? []).contains {
            switch $0 {
            case .fixed: false
            case .symbol(let name): sizes[name] == nil
            case .any: true
            }
          }
    }
  }

  /// One number for all inputs, empty strings, and sequences of two; a name stands for one size wherever it stands.
  ///
  /// - Throws: ``ToeplitzError`` for an input of unknown rank whose shape is not given.
  func values(_ choice: Choice, _ number: Double) throws -> [String: ModelValue] {
    try ports.reduce(into: [:]) { values, port in
      // Nothing is an optional value as well.
      if port.kind == .optional, port.dimensions == nil, shapes[port.name] == nil {
        values[port.name] = ModelValue.none
        return
      }
      let shape = TensorShape(try shapes[port.name] ?? shape(port, choice))
      if port.kind == .strings {
        let count = try shape.elementCount("inspect")
        guard count <= Self.mostStrings else {
          throw ToeplitzError(
            .argument, "inspect", expected: "at most \(Self.mostStrings) strings for '\(port.name)'",
            got: "shape \(shape)")
        }
        values[port.name] = .strings(try StringTensor(Array(repeating: "", count: count), shape: shape))
        return
      }
      // Types that are only stored can be zero, but nothing else.
      let tensor =
        try number == 0
        ? Tensor.zeros(shape, dtype: port.dtype ?? .float32) : Tensor.full(shape, number, dtype: port.dtype ?? .float32)
      values[port.name] = port.kind == .sequence ? .sequence([tensor, tensor]) : .tensor(tensor)
    }
  }

  private func shape(_ port: PortDescription, _ choice: Choice) throws -> [Int] {
    guard let dimensions = port.dimensions else {
      throw ToeplitzError(
        .unsupported, "inspect", expected: "--shape \(port.name)=… for an input of unknown shape", got: "none")
    }
    return dimensions.enumerated().map { axis, dimension in
      switch dimension {
      case .fixed(let size): size
      case .symbol(let name):
        sizes[name]
          ?? (firstNames.contains(name) ? choice.first : lastNames.contains(name) ? choice.last : choice.between)
      case .any: axis == 0 ? choice.first : axis + 1 == dimensions.count ? choice.last : choice.between
      }
    }
  }
}
