// One ONNX model, called by several tasks at a time: SharedONNX MODEL.onnx
import ToeplitzONNX

@main struct SharedONNX {
  static func main() async throws {
    guard CommandLine.arguments.count == 2 else { return print("usage: SharedONNX MODEL.onnx") }
    let model = try Executable(contentsOf: CommandLine.arguments[1])
    for port in model.inputs { print("input \(port.name): \(port.description)") }

    // Sizes that the model leaves open: one sample, 64 positions.
    let shape = TensorShape(
      (model.inputs.first?.dimensions ?? []).enumerated().map { axis, dimension in
        if case .fixed(let size) = dimension { size } else { axis == 0 ? 1 : 64 }
      })
    let norms = try await withThrowingTaskGroup(of: (Int, Float).self) { group in
      for request in 0..<8 {
        // An executable is Sendable: no copies, no locks.
        group.addTask {
          let x = try Generator(seed: UInt64(request)).normal(shape)
          let y = try model(x)
          return (request, try sqrt((y * y).sum()).item())
        }
      }
      var norms: [Int: Float] = [:]
      for try await (request, norm) in group { norms[request] = norm }
      return norms
    }
    for (request, norm) in norms.sorted(by: { $0.key < $1.key }) { print("request \(request): |y| = \(norm)") }
  }
}
