import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

extension OperatorTable {
  /// Sequences of tensors and optional values, and what hands on values of any kind.
  static let sequences: [String: ValueMaker] = [
    "Identity": { _ in { [try $0.value(0)] } },
    "SequenceConstruct": { _ in { [.sequence(try $0.all())] } },
    "SequenceEmpty": { _ in { _ in [.sequence([])] } },
    "SequenceLength": { _ in { [.tensor(try Tensor(scalar: Int64($0.sequence(0).count)))] } },
    "SequenceAt": { _ in
      { x in
        let list = try x.sequence(0)
        return [.tensor(list[try position(x, 1, list.count - 1)])]
      }
    },
    "SequenceInsert": { _ in
      { x in
        var list = try x.sequence(0)
        list.insert(try x(1), at: x.optional(2) == nil ? list.count : try position(x, 2, list.count))
        return [.sequence(list)]
      }
    },
    "SequenceErase": { _ in
      { x in
        var list = try x.sequence(0)
        list.remove(at: x.optional(1) == nil ? try last(x, list) : try position(x, 1, list.count - 1))
        return [.sequence(list)]
      }
    },
    "SplitToSequence": { node in
      let (axis, keepsAxis) = (try node.int("axis", 0), try node.flag("keepdims", true))
      return { x in
        let input = try x(0)
        let at = try input.shape.normalizedAxis(axis, operation: "SplitToSequence")
        let sizes = try sizes(x, length: input.shape[at])
        var start = 0
        let parts = try sizes.map { size in
          defer { start += size }
          return try input.slice(axis: at, start..<start + size)
        }
        return [.sequence(try keepsAxis || x.optional(1) != nil ? parts : parts.map { try $0.squeezed(at) })]
      }
    },
    "ConcatFromSequence": { node in
      let (axis, isNew) = (try node.int("axis", 0), try node.flag("new_axis"))
      return { x in
        let list = try x.sequence(0)
        guard !list.isEmpty else { throw x.refuse("at least one tensor", got: "none") }
        return [.tensor(try isNew ? Tensor.stack(list, axis: axis) : Tensor.concatenate(list, axis: axis))]
      }
    },
    "SequenceMap": { node in
      let body = try node.graph("body")
      return { x in
        let first = try x.sequence(0)
        let rest = try (1..<max(1, x.count)).map { try x.value($0) }
        var results = [[Tensor]](repeating: [], count: body.outputCount)
        guard body.inputCount == x.count else {
          throw x.refuse("a body of \(x.count) inputs", got: "\(body.inputCount)")
        }
        for (index, tensor) in first.enumerated() {
          let others = try rest.map { value -> ModelValue in
            guard case .sequence(let list) = value else { return value }
            guard list.count == first.count else { throw x.refuse("sequences of one length", got: "others") }
            return .tensor(list[index])
          }
          for (at, result) in try body([.tensor(tensor)] + others, of: x).enumerated() {
            results[at].append(try result.tensor(x))
          }
        }
        return results.map { .sequence($0) }
      }
    },
    "Optional": { node in { x in [x.count > 0 ? try x.value(0) : ModelValue.none] } },
    "OptionalHasElement": { _ in
      { x in
        let isThere =
          if x.count > 0, let value = x.values[0] { if case .none = value { false } else { true } } else { false }
        return [.tensor(try Tensor([isThere], shape: []))]
      }
    },
    "OptionalGetElement": { _ in
      { x in
        let value = try x.value(0)
        if case .none = value { throw x.refuse("an optional value that is there", got: "none") }
        return [value]
      }
    },
  ]

  /// A position in a list; negative ones count from its end.
  private static func position(_ x: Operands, _ index: Int, _ most: Int) throws -> Int {
    let given = try x.size(index)
    let count = try x.sequence(0).count
    let at = given < 0 ? given + count : given
    guard at >= 0, at <= most else { throw x.refuse("a position in a sequence of \(count)", got: "\(given)") }
    return at
  }

  private static func last(_ x: Operands, _ list: [Tensor]) throws -> Int {
    guard !list.isEmpty else { throw x.refuse("a sequence of at least one tensor", got: "none") }
    return list.count - 1
  }

  /// The lengths of the parts: given, all of one, or ones.
  private static func sizes(_ x: Operands, length: Int) throws -> [Int] {
    // A file of a few bytes can make a tensor of a great length.
    guard length <= 1 << 22 else { throw x.refuse(.shape, "at most \(1 << 22) positions to split", got: "\(length)") }
    guard let given = try x.optionalInts(1) else { return Array(repeating: 1, count: length) }
    var sizes = given
    if try x(1).rank == 0, let size = given.first {
      guard size > 0 else { throw x.refuse("parts of at least 1", got: "\(size)") }
      sizes = Array(repeating: size, count: length / size) + (length % size > 0 ? [length % size] : [])
    }
    var rest = length
    guard
      sizes.allSatisfy({ size in
        guard size >= 0, size <= rest else { return false }
        rest -= size
        return true
      }), rest == 0
    else { throw x.refuse("parts of \(length) in all", got: "\(given)") }
    return sizes
  }
}
