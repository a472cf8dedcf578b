import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzModels
import ToeplitzTensor
import ToeplitzTraining

/// `toeplitz train time`: how long a step of training of a published network takes.
struct TrainTimeCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "time", abstract: "Time steps of training of published networks (forward, backward, AdamW).",
    discussion: "Benchmarks/training.py races them against PyTorch.")

  /// The networks, with random numbers for inputs.
  enum Network: String, ExpressibleByArgument, CaseIterable { case resnet18, hifigan, unet }

  @Argument(help: "resnet18 (16 x 3 x 64 x 64), hifigan (V3, 8 x 8192 samples) or unet (4 x 3 x 128 x 128).")
  var network: Network

  @Option(help: "How many steps are timed.")
  var steps = 10

  @OptionGroup var threads: ThreadOptions

  @Flag(help: "Print how much of a step each kind of operation takes.")
  var profile = false

  func validate() throws {
    guard (1...100_000).contains(steps) else { throw ValidationError("--steps must be in 1...100000, not \(steps)") }
  }

  func execute() throws {
    threads.apply()
    let before = Platform.peakMemory
    defer { print(String(format: "%.0f MB at the peak", Double(Platform.peakMemory - before) / 1e6)) }
    let generator = Generator(seed: 1)
    switch network {
    case .resnet18:
      let labels = try Tensor((0..<16).map { Int64($0 * 60) })
      try time(ResNet(.resNet18, generator: generator), [generator.normal([16, 3, 64, 64]), labels]) { y, target in
        try crossEntropy(y, target)
      }
    case .hifigan:
      try time(
        HiFiGANGenerator(.v3, generator: generator), [generator.normal([8, 80, 32]), generator.normal([8, 1, 8192])]
      ) { try l1($0, $1) }
    case .unet:
      let labels = try generator.uniform([4, 128, 128], from: 0, to: 2).cast(to: .int64)
      try time(UNet(inChannels: 3, classCount: 2, generator: generator), [generator.normal([4, 3, 128, 128]), labels]) {
        try crossEntropy($0, $1)
      }
    }
  }

  private func time<Model: UnaryLayer>(
    _ model: Model, _ batch: [Tensor], _ loss: @escaping (Tensor, Tensor) throws -> Tensor
  ) throws {
    let step = CompiledStep(model, try Optimizer(AdamW(lr: 1e-4))) { model, optimizer, batch in
      let (value, gradients) = try valueAndGradient(of: model) { try loss($0(batch[0]), batch[1]) }
      try optimizer.update(model, with: gradients)
      return [value]
    }
    let clock = ContinuousClock()
    let start = clock.now
    var value = try step.run(batch)[0]
    let first = (clock.now - start) / .seconds(1)
    var kinds: [String: (count: Int, seconds: Double)] = [:]
    if profile {
      step.observe = { node, seconds in
        let name = node?.operation.name ?? "updates of parameters"
        kinds[name, default: (0, 0)].count += 1
        kinds[name, default: (0, 0)].seconds += seconds
      }
    }
    let times = Spread(
      try (0..<steps).map { _ in
        let start = clock.now
        value = try step.run(batch)[0]
        return (clock.now - start) / .seconds(1)
      })
    print(
      String(
        format: "%@: %.2f ms a step (median of %d, least %.2f), the first %.0f ms, loss %@", network.rawValue,
        times.median * 1000, steps, times.least * 1000, first * 1000, "\(try value.item(Float.self))"))
    for (name, item) in kinds.sorted(by: { $0.value.seconds > $1.value.seconds }).prefix(25) {
      print(
        String(format: "%8.3f ms %5d  ", item.seconds * 1000 / Double(steps), item.count / steps) + name.prefix(90))
    }
  }
}
