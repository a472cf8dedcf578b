import Toeplitz
import ToeplitzTraining
import ToeplitzTestSupport

/// A sample of one of PyTorch's operations, as `Scripts/opinfo-gradients.py` writes it.
struct OpInfoCase {
  let golden: GoldenValue
  let file: GoldenFile

  /// The name, without the module that all functions of layers are in.
  var name: String {
    let name = golden["op"].string ?? ""
    return name.hasPrefix("nn.functional.") ? String(name.dropFirst("nn.functional.".count)) : name
  }
  var options: GoldenValue { golden["options"] }

  /// Why this case has no function here; the texts are those of the closing note.
  struct LeftOut: Error { var reason: String }

  func tensors(_ key: String) throws -> [String: Tensor] {
    try (golden[key].object ?? [:]).mapValues { try file.tensor($0.string ?? "") }
  }
  func list(_ key: String) throws -> [Tensor] { try (golden[key].array ?? []).map { try file.tensor($0.string ?? "") } }

  // MARK: Options

  func int(_ key: String, _ standard: Int) -> Int { options[key].int ?? standard }
  func number(_ key: String, _ standard: Double) -> Double { options[key].double ?? standard }
  func flag(_ key: String, _ standard: Bool = false) -> Bool { options[key].bool ?? standard }
  func text(_ key: String, _ standard: String) -> String { options[key].string ?? standard }
  func reduction() throws -> LossReduction {
    guard let found = LossReduction(rawValue: text("reduction", "mean")) else {
      throw LeftOut(reason: "reduction \(text("reduction", ""))")
    }
    return found
  }

  /// One number for each axis; nil where the option is missing or an empty list.
  func sizes(_ key: String, _ rank: Int) -> [Int]? {
    if let one = options[key].int { return [Int](repeating: one, count: rank) }
    guard let all = options[key].ints, !all.isEmpty else { return nil }
    return all.count == rank ? all : [Int](repeating: all[0], count: rank)
  }
}
