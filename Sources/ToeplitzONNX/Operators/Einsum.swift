import ToeplitzOps
import ToeplitzTensor

/// Einstein's summation: products of tensors whose axes have letters, summed over letters that the result lacks.
struct Einsum: Sendable {
  private let operands: [[Character]]
  private let result: [Character]?
  private static let operation = "Einsum"

  /// Letters for the axes that `...` stands for; no equation can hold them.
  private static let free: [Character] = (0..<16).compactMap { Unicode.Scalar(0xE000 + UInt32($0)).map(Character.init) }

  init(_ equation: String) throws {
    func letters(_ text: Substring) throws -> [Character] {
      var found: [Character] = []
      var rest = text.filter { $0 != " " }[...]
      while let first = rest.first {
        if rest.hasPrefix("...") {
          found.append(".")
          rest = rest.dropFirst(3)
        } else {
          guard first.isASCII, first.isLetter else {
            throw ToeplitzError(.argument, Self.operation, expected: "letters and ... for axes", got: "\(equation)")
          }
          found.append(first)
          rest = rest.dropFirst()
        }
      }
      guard found.count(where: { $0 == "." }) <= 1 else {
        throw ToeplitzError(.argument, Self.operation, expected: "at most one ... for an operand", got: "\(text)")
      }
      return found
    }
    let arrow = equation.range(of: "->")
    let left = equation[..<(arrow?.lowerBound ?? equation.endIndex)]
    operands = try left.split(separator: ",", omittingEmptySubsequences: false).map(letters)
    result = try arrow.map { try letters(equation[$0.upperBound...]) }
  }

  func evaluate(_ tensors: [Tensor]) throws -> Tensor {
    guard tensors.count == operands.count, !tensors.isEmpty else {
      throw refuse("\(operands.count) operands", "\(tensors.count)")
    }
    var sizes: [Character: Int] = [:]
    var mostFree = 0
    var terms: [(tensor: Tensor, axes: [Character])] = []
    for (tensor, letters) in zip(tensors, operands) {
      let extra = tensor.rank - letters.count { $0 != "." }
      guard extra >= 0, extra <= Self.free.count, letters.contains(".") || extra == 0 else {
        throw refuse("\(letters.count) axes", "shape \(tensor.shape)")
      }
      mostFree = max(mostFree, letters.contains(".") ? extra : 0)
      let axes = letters.flatMap { $0 == "." ? Array(Self.free.suffix(extra)) : [$0] }
      for (axis, letter) in axes.enumerated() {
        let size = tensor.shape[axis]
        if let known = sizes[letter], known != size, known != 1, size != 1 {
          throw refuse("one size for each letter", "\(known) and \(size) for \(letter)")
        }
        sizes[letter] = max(sizes[letter] ?? 1, size)
      }
      terms.append(try diagonal(tensor, axes))
    }
    let freeAxes = Array(Self.free.suffix(mostFree))
    let wanted = result.map { $0.flatMap { $0 == "." ? freeAxes : [$0] } } ?? implicit(freeAxes)
    guard Set(wanted).count == wanted.count, wanted.allSatisfy({ sizes[$0] != nil }) else {
      throw refuse("each letter of the result once, and in an operand", "\(String(wanted))")
    }
    var current = terms[0]
    for (index, next) in terms.enumerated().dropFirst() {
      let later = Set(terms.dropFirst(index + 1).flatMap(\.axes)).union(wanted)
      current = try contract(current, next, keeping: later, sizes)
    }
    let gone = current.axes.indices.filter { !wanted.contains(current.axes[$0]) }
    if !gone.isEmpty {
      current.tensor = try current.tensor.sum(gone).cast(to: current.tensor.dtype)
      current.axes = current.axes.filter { wanted.contains($0) }
    }
    return try current.tensor.permuted(wanted.map { letter in current.axes.firstIndex(of: letter) ?? 0 })
  }

  private func refuse(_ expected: String, _ got: String) -> ToeplitzError {
    ToeplitzError(.argument, Self.operation, expected: expected, got: got)
  }

  /// Without an arrow the result has the letters that appear once, in the alphabet's order.
  private func implicit(_ freeAxes: [Character]) -> [Character] {
    var counts: [Character: Int] = [:]
    for letter in operands.joined() where letter != "." { counts[letter, default: 0] += 1 }
    return freeAxes + counts.filter { $0.value == 1 }.keys.sorted()
  }

  /// A letter that stands twice in one operand walks its diagonal.
  private func diagonal(_ tensor: Tensor, _ axes: [Character]) throws -> (tensor: Tensor, axes: [Character]) {
    var (tensor, letters) = (tensor, axes)
    while let (first, second) = repeated(letters) {
      let size = tensor.shape[first]
      guard size == tensor.shape[second] else {
        throw refuse("equal sizes on a diagonal", "shape \(tensor.shape)")
      }
      // Both axes at the end as one, of which every size + 1 st element lies on the diagonal.
      let rest = letters.indices.filter { $0 != first && $0 != second }
      let flat = try tensor.permuted(rest + [first, second]).reshaped(
        TensorShape(rest.map { tensor.shape[$0] } + [size * size]))
      tensor = try flat.slice(axis: rest.count, 0..<(size * size), step: size + 1)
      letters = rest.map { letters[$0] } + [letters[first]]
    }
    return (tensor, letters)
  }

  /// The places of a letter that stands twice.
  private func repeated(_ letters: [Character]) -> (Int, Int)? {
    for (second, letter) in letters.enumerated() {
      if let first = letters.firstIndex(of: letter), first < second { return (first, second) }
    }
    return nil
  }

  /// The product of two terms, summed over letters that nobody needs any more, as one batch of matrix products.
  private func contract(
    _ a: (tensor: Tensor, axes: [Character]), _ b: (tensor: Tensor, axes: [Character]), keeping: Set<Character>,
    _ sizes: [Character: Int]
  ) throws -> (tensor: Tensor, axes: [Character]) {
    let both = a.axes.filter { b.axes.contains($0) }
    let batch = both.filter(keeping.contains)
    let summed = both.filter { !keeping.contains($0) }
    let left = a.axes.filter { !b.axes.contains($0) }
    let right = b.axes.filter { !a.axes.contains($0) }
    func arrange(
      _ term: (tensor: Tensor, axes: [Character]), _ groups: [[Character]]
    ) throws -> Tensor {
      let order = groups.flatMap { $0 }
      let permuted = try term.tensor.permuted(order.map { letter in term.axes.firstIndex(of: letter) ?? 0 })
      let full = try permuted.expanded(
        to: TensorShape(
          order.map { both.contains($0) ? sizes[$0] ?? 1 : term.tensor.shape[term.axes.firstIndex(of: $0) ?? 0] }))
      var shape: [Int] = []
      var at = 0
      for group in groups {
        shape.append(full.shape[at..<(at + group.count)].reduce(1, *))
        at += group.count
      }
      return try full.reshaped(TensorShape(shape))
    }
    let product = try arrange(a, [batch, left, summed]).matmul(arrange(b, [batch, summed, right]))
    let axes = batch + left + right
    func size(_ letter: Character) -> Int {
      if both.contains(letter) { return sizes[letter] ?? 1 }
      if let at = a.axes.firstIndex(of: letter) { return a.tensor.shape[at] }
      return b.axes.firstIndex(of: letter).map { b.tensor.shape[$0] } ?? 1
    }
    return (try product.reshaped(TensorShape(axes.map(size))), axes)
  }
}
