import Foundation
import Testing
import Toeplitz
import ToeplitzTestSupport

@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// PyTorch's own samples of operations: results, first and second gradients in float64.
///
/// A few of each operation are in the repository; `TOEPLITZ_OPINFO` names a folder with all of them, made by
/// `Scripts/opinfo-gradients.py`.
@Suite struct OpInfoTests {
  private static let whole = ProcessInfo.processInfo.environment["TOEPLITZ_OPINFO"]

  private func file() throws -> GoldenFile {
    try Self.whole.map { try GoldenFile(file: $0 + "/opinfo") } ?? GoldenFile("opinfo/opinfo")
  }

  /// What is wrong unless numbers agree within `relative` of theirs plus 1e-12.
  private func difference(_ got: Tensor, _ wanted: Tensor, relative: Double) throws -> String? {
    guard got.shape == wanted.shape || got.count == wanted.count && wanted.rank == 0 else {
      return "shape \(got.shape) instead of \(wanted.shape)"
    }
    for (index, (a, b)) in zip(try got.doubles(), try wanted.doubles()).enumerated() {
      guard a == b || (a.isNaN && b.isNaN) || abs(a - b) <= relative * abs(b) + 1e-12 else {
        return "\(a) instead of \(b) at \(index)"
      }
    }
    return nil
  }

  private func dot(_ a: [Tensor], _ b: [Tensor]) throws -> Tensor {
    let parts = try zip(a, b).map { try ($0.reshaped($1.shape) * $1).sum() }
    return try parts.dropFirst().reduce(parts[0]) { try $0 + $1 }
  }

  /// What is wrong with a case, by what was compared.
  private func check(_ item: OpInfoCase, _ counts: inout [String: Int]) throws -> [String] {
    let given = try item.tensors("tensors")
    let (outputs, weights) = (try item.list("outputs"), try item.list("weights"))
    var wrong: [String] = []
    func compare(_ what: String, _ got: Tensor, _ wanted: Tensor) throws {
      // PyTorch multiplies by a sixth in float32 there, also in float64.
      let relative = item.name == "hardsigmoid" && what.hasPrefix("gradient") ? 1e-7 : 1e-10
      if let difference = try difference(got, wanted, relative: relative) { wrong.append("\(what): \(difference)") }
      counts[String(what.prefix { $0 != " " }), default: 0] += 1
    }
    for (got, wanted) in zip(try item.run(given), outputs) { try compare("result", got, wanted) }
    let gradients = try item.tensors("gradients")
    let names = gradients.keys.sorted()
    guard !names.isEmpty else { return wrong }
    let points = names.compactMap { given[$0] }
    func slope(_ x: [Tensor]) throws -> Tensor {
      try dot(item.run(given.merging(zip(names, x)) { $1 }), weights)
    }
    for (name, got) in zip(names, try gradient(at: points, slope)) {
      if let wanted = gradients[name] { try compare("gradient of \(name)", got, wanted) }
    }
    let (second, directions) = (try item.tensors("second"), try item.tensors("directions"))
    guard !second.isEmpty else { return wrong }
    let found = try gradient(at: points) { x in
      try dot(gradient(at: x, slope), names.compactMap { directions[$0] })
    }
    for (name, got) in zip(names, found) {
      if let wanted = second[name] { try compare("second gradient of \(name)", got, wanted) }
    }
    return wrong
  }

  @Test func resultsAndGradientsAreThoseOfPyTorch() throws {
    let file = try file()
    var (counts, leftOut, broken): ([String: Int], [String: Int], [String: String]) = ([:], [:], [:])
    var (checked, wrong) = (0, 0)
    for golden in file.cases where golden["op"].string != "optimizer" {
      let item = OpInfoCase(golden: golden, file: file)
      do {
        let findings = try check(item, &counts)
        checked += 1
        guard !findings.isEmpty else { continue }
        wrong += 1
        broken["\(item.name) \(golden["variant"].string ?? "")"] = "\(golden["options"]): \(findings)"
      } catch let error as OpInfoCase.LeftOut {
        leftOut[error.reason, default: 0] += 1
      } catch {
        wrong += 1
        broken["\(item.name) \(golden["variant"].string ?? "")"] = "\(golden["options"]): \(error)"
      }
    }
    for (name, finding) in broken.sorted(by: { $0.key < $1.key }) { Issue.record("\(name): \(finding.prefix(600))") }
    #expect(wrong == 0)
    #expect(checked >= (Self.whole == nil ? 60 : 3600), "\(checked)")
    guard Self.whole != nil else { return }
    print("OpInfo: \(checked) cases, \(counts.sorted { $0.key < $1.key })")
    for (reason, count) in leftOut.sorted(by: { $0.key < $1.key }) { print("left out: \(count) × \(reason)") }
  }

  // MARK: Optimisers

  private final class Matrices: Module {
    let values: [Parameter]
    init(_ values: [Tensor]) { self.values = values.map { Parameter($0) } }
  }

  private func rule(_ item: OpInfoCase) throws -> any UpdateRule {
    let decay = item.number("weight_decay", 0)
    let betas = item.options["betas"].array.map { ($0[0].double ?? 0, $0[1].double ?? 0) }
    switch item.golden["rule"].string {
    case "SGD":
      return SGD(
        lr: item.number("lr", 1e-3), momentum: item.number("momentum", 0), dampening: item.number("dampening", 0),
        weightDecay: decay, nesterov: item.flag("nesterov"), maximize: item.flag("maximize"))
    case "Adam":
      return Adam(
        lr: item.number("lr", 1e-3), weightDecay: decay, amsgrad: item.flag("amsgrad"), maximize: item.flag("maximize"))
    case "AdamW":
      return AdamW(
        lr: item.number("lr", 1e-3), weightDecay: item.number("weight_decay", 1e-2), amsgrad: item.flag("amsgrad"),
        maximize: item.flag("maximize"))
    case "RMSprop":
      return RMSprop(
        lr: item.number("lr", 1e-2), weightDecay: decay, momentum: item.number("momentum", 0),
        centered: item.flag("centered"), maximize: item.flag("maximize"))
    case "Muon":
      let coefficients = item.options["ns_coefficients"].array.map(doubles)
      return Muon(
        lr: item.number("lr", 1e-3), weightDecay: item.number("weight_decay", 0.1),
        momentum: item.number("momentum", 0.95),
        nsCoefficients: coefficients.map { ($0[0], $0[1], $0[2]) } ?? (3.4445, -4.7750, 2.0315),
        nsSteps: item.int("ns_steps", 5))
    default: return Lion(lr: item.number("lr", 1e-4), betas: betas ?? (0.9, 0.99), weightDecay: decay)
    }
  }

  private func doubles(_ values: [GoldenValue]) -> [Double] { values.compactMap(\.double) }

  @Test func trajectoriesAreThoseOfPyTorch() throws {
    let file = try file()
    var rules: [String: Int] = [:]
    for golden in file.cases where golden["op"].string == "optimizer" {
      let item = OpInfoCase(golden: golden, file: file)
      let model = Matrices(try item.list("start"))
      let optimizer = try Optimizer(rule(item))
      let (steps, results) = (golden["steps"].array ?? [], golden["results"].array ?? [])
      #expect(steps.count == 20 && results.count == 20)
      for (number, (gradients, wanted)) in zip(steps, results).enumerated() {
        let entries = try zip(model.namedParameters(), gradients.array ?? []).map { named, key in
          let value = try file.tensor(key.string ?? "")
          return Gradients.Entry(
            parameter: ObjectIdentifier(named.parameter), name: named.name, spec: value.spec, value: value)
        }
        try optimizer.update(model, with: Gradients(entries))
        for (parameter, key) in zip(model.values, wanted.array ?? []) {
          let distance = try parameter.value.distance(to: file.tensor(key.string ?? ""))
          #expect(distance.absolute <= 1e-12, "\(golden["rule"]) \(golden["options"]) step \(number + 1): \(distance)")
        }
      }
      rules[golden["rule"].string ?? "", default: 0] += 1
    }
    #expect(rules.count == 6, "\(rules)")
    if Self.whole != nil { print("OpInfo optimisers: \(rules.sorted { $0.key < $1.key })") }
  }
}
