import Foundation
import Toeplitz
import ToeplitzImage
import ToeplitzTraining

/// Two pairs of 3×3 convolutions with batch normalisation, a maximum pooling between them, and a linear layer.
final class SmallClassifier: Module, UnaryLayer {
  let features: Sequential
  let classifier: Sequential

  init(channels: Int, classes: Int, size: [Int], generator: Generator) throws {
    func block(_ inputs: Int, _ outputs: Int) throws -> [any UnaryLayer] {
      [
        try Conv2d(
          inChannels: inputs, outChannels: outputs, kernelSize: 3, padding: 1, bias: false, generator: generator),
        try BatchNorm2d(numFeatures: outputs), ReLU(),
      ]
    }
    var layers = try block(channels, 32) + block(32, 32)
    if size.allSatisfy({ $0 >= 4 }) { layers.append(try MaxPool2d(kernelSize: 2)) }
    layers += try block(32, 64) + block(64, 64)
    layers.append(try AdaptiveAvgPool2d(outputSize: 2))
    features = Sequential(layers)
    classifier = Sequential([
      Flatten(), try Dropout(p: 0.3), try Linear(inFeatures: 256, outFeatures: classes, generator: generator),
    ])
  }

  func forward(_ x: Tensor) throws -> Tensor { try classifier(features(x)) }
}

/// How often images of each class (rows) were taken for each class (columns).
struct ConfusionTable: CustomStringConvertible {
  private(set) var counts: [[Int]]

  init(classes: Int) { counts = Array(repeating: Array(repeating: 0, count: classes), count: classes) }

  mutating func add(_ label: Int, takenFor guess: Int) { counts[label][guess] += 1 }

  var total: Int { counts.reduce(0) { $0 + $1.reduce(0, +) } }
  var accuracy: Double { Double(counts.indices.reduce(0) { $0 + counts[$1][$1] }) / Double(max(1, total)) }

  /// A square for each pair, coloured by its share of the images of its class (row); classes go down and guesses to the right.
  func picture() throws -> Picture {
    let shares = counts.map { row in
      let total = Double(max(1, row.reduce(0, +)))
      return row.map { Double($0) / total }
    }
    let side = max(1, min(32, 640 / max(1, counts.count)))
    return try Picture(heatMap: shares, range: 0...1, cell: (side, side))
  }

  var description: String {
    let width = max(4, counts.flatMap { $0 }.map { "\($0)".count + 1 }.max() ?? 4)
    func line(_ cells: [String]) -> String {
      cells.map { String(repeating: " ", count: max(0, width - $0.count)) + $0 }.joined()
    }
    let header = line([""] + counts.indices.map(String.init))
    return ([header] + counts.enumerated().map { line(["\($0.offset)"] + $0.element.map(String.init)) })
      .joined(separator: "\n")
  }
}

/// One split of the data with its model and loop.
struct ClassifierRun {
  let trainer: Trainer<SmallClassifier>
  private let heldOut: TensorDataset
  private let classCount: Int

  init(
    _ samples: LabelledImages, _ options: TrainClassifierCommand, split: Int, folder: String,
    _ processes: any Communicator
  ) throws {
    let shares = try StratifiedSplit(
      classes: samples.labels, heldOut: options.heldOut, seed: options.seed &+ UInt64(split))
    guard !shares.heldOut.isEmpty, shares.training.count >= options.batchSize else {
      throw ToeplitzError(
        .argument, options.data, expected: "images for a batch of \(options.batchSize), and some to hold out",
        got: "\(shares.training.count) and \(shares.heldOut.count)")
    }
    let labels = try Tensor(samples.labels.map { Int64($0) })
    let all = try TensorDataset([samples.images, labels])
    let most = options.shift
    let training = try all.subset(shares.training)
    let data = try TensorDataset(training.tensors) { batch, random in
      [try ImageAugmentation.shifted(batch[0], most: most, random: &random), batch[1]]
    }
    let held = try all.subset(shares.heldOut)
    let shape = samples.images.shape
    let model = try SmallClassifier(
      channels: shape[1], classes: samples.classCount, size: [shape[2], shape[3]],
      generator: Generator(seed: options.seed))
    let optimizer = try Optimizer(
      AdamW(lr: options.lr, weightDecay: 0.02),
      groups: [.init(AdamW(lr: options.lr, weightDecay: 0)) { !$0.hasSuffix("weight") }])
    let steps = options.epochs * (training.count / options.batchSize)
    var settings = TrainerOptions(
      epochs: options.epochs, batchSize: options.batchSize, seed: options.seed,
      schedule: .oneCycle(maxLR: options.lr, steps: max(2, steps)), maxGradientNorm: 5, averageDecay: 0.99,
      checkpointEvery: options.checkpointEvery)
    settings.shards = options.sharing.shardCount
    settings.settings = ["split": "\(split)", "held-out share": "\(options.heldOut)", "shift": "\(most)"]
    let classes = samples.classCount
    trainer = try Trainer(
      model, optimizer, data: data, folder: folder, options: settings, communicator: processes,
      validate: { ["accuracy": try Self.table($0, held, classes).accuracy] }
    ) { model, batch in
      try crossEntropy(model(batch[0]), batch[1], labelSmoothing: 0.05)
    }
    (heldOut, classCount) = (held, classes)
  }

  /// How the model does on what was held out.
  func confusion() throws -> ConfusionTable {
    try trainer.withAverages { try Self.table(trainer.model.eval(), heldOut, classCount) }
  }

  private static func table(_ model: SmallClassifier, _ data: TensorDataset, _ classes: Int) throws -> ConfusionTable {
    var table = ConfusionTable(classes: classes)
    for first in stride(from: 0, to: data.count, by: 256) {
      let part = first..<min(data.count, first + 256)
      let guesses = try model(data.tensors[0].slice(axis: 0, part)).argmax(axis: 1).scalars(Int64.self)
      let labels = try data.tensors[1].slice(axis: 0, part).scalars(Int64.self)
      for (label, guess) in zip(labels, guesses) { table.add(Int(label), takenFor: Int(guess)) }
    }
    return table
  }
}
