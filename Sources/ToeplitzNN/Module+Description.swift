import ToeplitzOps
import ToeplitzTensor

extension Module {
  /// The module and all inside it, one a line, as PyTorch prints them.
  public var description: String { described(inside: []) }

  /// The text, without those of `ancestors` that a child refers back to.
  private func described(inside ancestors: Set<ObjectIdentifier>) -> String {
    let inside = ancestors.union([ObjectIdentifier(self)])
    let children = self.children.filter { !inside.contains(ObjectIdentifier($0.module)) }
    guard !children.isEmpty else { return "\(displayName)(\(extraRepr))" }
    var lines = ["\(displayName)("]
    if !extraRepr.isEmpty { lines.append("  \(extraRepr)") }
    // Elements of an array property are shown under their full key, as `ups.0`.
    var texts = children.map { (first: $0.key, last: $0.key, count: 1, text: $0.module.described(inside: inside)) }
    if self is any ModuleSequence { texts = joined(texts) }
    for (first, last, count, text) in texts {
      let key = count > 1 ? "\(first)-\(last)" : first
      let body = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\n  ")
      lines.append("  (\(key)): \(count > 1 ? "\(count) x " : "")\(body)")
    }
    lines.append(")")
    return lines.joined(separator: "\n")
  }

  private typealias Repeated = (first: String, last: String, count: Int, text: String)

  /// Neighbours of one text as one entry, as PyTorch prints the modules of a list.
  private func joined(_ texts: [Repeated]) -> [Repeated] {
    texts.reduce(into: []) { result, next in
      if let last = result.last, last.text == next.text {
        result[result.count - 1] = (last.first, next.last, last.count + 1, last.text)
      } else {
        result.append(next)
      }
    }
  }
}

/// A list of modules, which shows equal neighbours once.
protocol ModuleSequence: Module {}
extension ModuleList: ModuleSequence {}

/// One line of a summary.
public struct SummaryRow: Sendable, Hashable {
  /// The dotted path, empty for the model itself.
  public var path: String
  /// The layer's type.
  public var type: String
  /// The output's shape.
  public var output: TensorShape
  /// Parameters of this layer alone.
  public var parameters: Int
  /// Multiply-adds of this layer alone for the given input.
  public var multiplyAdds: Int
}

/// The layers of a model in the order in which they are called.
public struct Summary: Sendable, CustomStringConvertible {
  /// One row for each call of a layer.
  public var rows: [SummaryRow]
  /// Parameters of the whole model.
  public var parameters: Int
  /// Multiply-adds of the whole model.
  public var multiplyAdds: Int { rows.reduce(0) { $0 + $1.multiplyAdds } }

  /// A table.
  public var description: String {
    let header = ["layer", "type", "output", "parameters", "multiply-adds"]
    let body = rows.map {
      [$0.path.isEmpty ? "(model)" : $0.path, $0.type, $0.output.description, "\($0.parameters)", "\($0.multiplyAdds)"]
    }
    let total = ["total", "", "", "\(parameters)", "\(multiplyAdds)"]
    let widths = header.indices.map { column in ([header, total] + body).map { $0[column].count }.max() ?? 0 }
    func line(_ cells: [String]) -> String {
      cells.enumerated().map { index, cell in
        let fill = String(repeating: " ", count: widths[index] - cell.count)
        return index < 3 ? cell + fill : fill + cell
      }.joined(separator: "  ")
    }
    let rule = String(repeating: "-", count: widths.reduce(0, +) + 2 * (widths.count - 1))
    return ([line(header), rule] + body.map(line) + [rule, line(total)]).joined(separator: "\n")
  }
}

extension UnaryLayer {
  /// Runs the model once on zeros and lists its layers with output shapes, parameters and multiply-adds.
  ///
  /// - Throws: ``ToeplitzError`` if the model does not accept an input of this shape.
  public func summary(inputShape: TensorShape, dtype: DType = .float32) throws -> Summary {
    try summarized(Tensor.zeros(inputShape, dtype: dtype)).summary
  }

  /// The output for `x` in evaluation mode, and what was called for it.
  package func summarized(_ x: Tensor) throws -> (output: Tensor, summary: Summary) {
    var rows: [SummaryRow] = []
    var failure: (any Error)?
    let call = OutermostCall(module: self) { module, input, output in
      do {
        let own = module.items.reduce(0) { count, item in
          switch item.item {
          case .module: count
          case .parameter(let parameter): count + (parameter.isBuffer ? 0 : parameter.value.count)
          case .weight(let weight): count + weight.named("").reduce(0) { $0 + $1.parameter.value.count }
          }
        }
        rows.append(
          SummaryRow(
            path: module.path, type: module.displayName, output: output, parameters: own,
            multiplyAdds: try module.multiplyAdds(input: input, output: output)))
      } catch {
        failure = error
      }
    }
    let output = try evaluating { try OutermostCall.$current.withValue(call) { try self(x) } }
    if let failure { throw failure }
    return (output, Summary(rows: rows, parameters: parameterCount))
  }
}
