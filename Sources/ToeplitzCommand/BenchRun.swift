import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzONNX

/// One case with its weights and inputs, ready to be timed.
///
/// Inputs and outputs rotate: every call reads another copy of the input and its output lives until as many calls later,
/// so that neither is in a core's own caches, which only the repetition of one small layer would keep warm. The weights stay
/// where they are: a layer has them once.
struct BenchRun {
  let name: String
  /// The layer, or the compiled model.
  private let model: (Tensor) throws -> Tensor
  /// Copies of the input.
  private let inputs: [Tensor]
  /// Multiply-adds of a call count twice.
  let operations: Double
  /// Bytes of input, parameters and output, each counted once.
  let bytes: Double

  /// The type of input, weights and output.
  let storage: BenchStorage

  /// How many inputs, and outputs alive, there are.
  var buffers: Int { inputs.count }

  /// - Parameters:
  ///   - data: a folder to take input and weights, or the whole network as model.onnx, from, and to write the output to;
  ///     random numbers if nil.
  ///   - buffers: how many inputs and outputs; enough to fill the cores' own caches eight times if nil.
  ///   - weights: how convolutions keep their prepared weights.
  ///   - storage: the type of input, weights and output.
  init(
    _ benchCase: any BenchCase, data: String?, buffers: Int?, weights weightStorage: WeightStorage,
    storage: BenchStorage
  ) throws {
    name = benchCase.name
    self.storage = storage
    let layer = try benchCase.model(data == nil ? Generator(seed: 1) : .zeros)
    layer.eval().storeWeights(as: weightStorage)
    let compiled = try data.flatMap { try Self.compiled(in: $0, weightStorage, storage) }
    var x: Tensor
    if let data {
      x = try NumPy.read(contentsOf: "\(data)/x.npy")
      guard x.shape == benchCase.inputShape else {
        throw ToeplitzError(
          .shape, "\(data)/x.npy", expected: "the input of \(name), \(benchCase.inputShape)", got: "\(x.shape)")
      }
      // A file is only mapped: the first call would read it.
      x = try x.cast(to: .float32).copied()
      if compiled == nil { try layer.load(Self.weights(in: data)) }
    } else {
      x = try Generator(seed: 2).uniform(benchCase.inputShape, from: -1, to: 1)
    }
    try layer.to(storage.dtype)
    x = try x.cast(to: storage.dtype)
    let (result, summary) = try layer.summarized(x)
    let y = try compiled.map { try $0(x) } ?? result
    model = compiled ?? Self.compiled(layer)
    if let data { try NumPy.write(y.cast(to: .float32), to: "\(data)/y.npy") }
    operations = 2 * Double(summary.multiplyAdds)
    let weights = layer.parameters().reduce(0) { sum, parameter in
      // Only weights are stored in another way, not biases.
      let size = parameter.value.rank > 1 ? weightStorage.byteSize(of: 4) : 4
      return sum + parameter.value.count * size
    }
    let passing = storage.dtype.byteSize * (x.count + y.count)
    bytes = Double(passing + weights)
    // In a network the ends are little beside what moves inside, so that two of each are enough.
    let isNetwork = summary.rows.count > 1
    let caches = ThreadPool.shared.threadCount * Platform.secondLevelCache
    let fill = isNetwork ? 2 : (max(8 * caches, 1 << 25) - weights) / max(passing, 1) + 1
    let count = buffers ?? min(max(fill, 2), 1000)
    let room = Platform.physicalMemory / 2 / max(passing, 1)
    guard count <= room else {
      throw ToeplitzError(.memory, "bench", expected: "at most \(room) --buffers for \(name)", got: "\(count)")
    }
    inputs = try [x] + (1..<max(count, 1)).map { _ in try x.copied() }
  }

  /// A layer as a compiled function.
  static func compiled<Model: UnaryLayer>(_ layer: Model) -> (Tensor) throws -> Tensor {
    let compiled = layer.compiled()
    return { try compiled($0) }
  }

  /// The model of one input and output in a folder, if there is one.
  private static func compiled(
    in data: String, _ weights: WeightStorage, _ storage: BenchStorage
  ) throws -> ((Tensor) throws -> Tensor)? {
    let file = "\(data)/model.onnx"
    guard FileManager.default.fileExists(atPath: file) else { return nil }
    guard weights == .full, storage == .float32 else {
      throw ToeplitzError(
        .argument, file, expected: "full weights and float32", got: "weights \(weights.rawValue), \(storage.rawValue)")
    }
    let executable = try Executable(contentsOf: file)
    guard executable.inputs.count == 1, executable.outputs.count == 1 else {
      throw ToeplitzError(
        .argument, file, expected: "a model of one input and one output",
        got: "\(executable.inputs.count) and \(executable.outputs.count)")
    }
    let name = executable.inputs[0].name
    return { try executable.run([name: $0])[0] }
  }

  /// The weights in a folder: those of a network are a state dictionary, those of a convolution two arrays.
  private static func weights(in data: String) throws -> [String: Tensor] {
    let file = "\(data)/weights.safetensors"
    if FileManager.default.fileExists(atPath: file) { return try Checkpoint(contentsOf: file).tensors }
    return [
      "weight": try NumPy.read(contentsOf: "\(data)/weight.npy"),
      "bias": try NumPy.read(contentsOf: "\(data)/bias.npy"),
    ]
  }

  /// Milliseconds of single calls, for `seconds` and at least three calls, after a turn of all buffers; and how many
  /// large blocks of memory the system had to give for them.
  func times(seconds: Double) throws -> (milliseconds: [Double], freshBlocks: Int) {
    let clock = ContinuousClock()
    var outputs = [Tensor?](repeating: nil, count: buffers)
    var calls = 0
    func once() throws -> Double {
      let slot = calls % buffers
      calls += 1
      let start = clock.now
      // Letting go of the output of a whole turn ago is part of a call.
      outputs[slot] = try model(inputs[slot])
      return (clock.now - start) / .milliseconds(1)
    }
    // One more than there are slots: a new output exists before the old one of its slot goes.
    for _ in 0...buffers { _ = try once() }
    let before = BlockCache.freshBlockCount
    var runs: [Double] = []
    var spent = 0.0
    while runs.count < 3 || spent < seconds * 1000 {
      runs.append(try once())
      spent += runs[runs.count - 1]
    }
    return (runs, BlockCache.freshBlockCount - before)
  }
}
