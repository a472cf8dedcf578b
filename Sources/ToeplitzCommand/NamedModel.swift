import Toeplitz
import ToeplitzGraph
import ToeplitzModels

/// A network that commands know by name, with random weights, or the bundled vocoder.
struct NamedModel {
  /// What the bundled generator is called.
  private static let bundled = "vocoder"
  /// All names.
  static let names = [bundled] + NetworkCase.networks.map(\.network)

  private let name: String

  /// The network of that name, if there is one.
  init?(_ name: String) {
    guard Self.names.contains(name) else { return nil }
    self.name = name
  }

  /// The network, compiled.
  func executable(optimizes: Bool) throws -> Executable {
    guard let network = NetworkCase.networks.first(where: { $0.network == name }) else {
      let generator = try Vocoder(contentsOf: Bundled.folder()).generator
      let mels = generator.configuration.numMels
      let port = PortDescription(name: "x", dtype: .float32, dimensions: ["N", .fixed(mels), "L"])
      return try Executable(tracing: generator, inputs: [port], optimizes: optimizes) { [try $0($1[0])] }
    }
    return try network.executable(optimizes)
  }
}
