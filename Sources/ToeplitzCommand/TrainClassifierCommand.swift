import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTraining

/// `toeplitz train classifier`: a small convolutional network that tells classes of images apart.
struct TrainClassifierCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "classifier",
    abstract: "Train a convolutional network that tells classes of images apart.",
    discussion: """
      Reads images [N, C, H, W] and labels [N] from an .npz file, or pictures whose classes are their folders, holds out a part of each class and trains. The folder gets \
      checkpoints, metrics.jsonl, best.safetensors and model.safetensors (under PyTorch's names). A run that was stopped, by \
      Ctrl-C or in any other way, goes on from its last checkpoint when the command is given again, and ends with the same bits.
      """)

  @Option(
    help: "An .npz file with images and labels, or a folder with a folder of PNG or JPEG pictures for each class.")
  var data: String

  @Option(name: .shortAndLong, help: "The folder of the run.")
  var out: String

  @Option(help: "How often all images are seen.")
  var epochs = 40

  @Option(help: "Images of a step.")
  var batchSize = 64

  @Option(help: "The largest learning rate.")
  var lr = 0.004

  @Option(help: "What initial weights, order, changes of images and dropout follow from.")
  var seed: UInt64 = 0

  @Option(help: "How many splits of the data are trained with, one after the other.")
  var splits = 1

  @Option(help: "The share of each class that is held out.")
  var heldOut = 0.2

  @Option(help: "Images are moved by up to so many pixels.")
  var shift = 1

  @Option(help: "The height and width that pictures of a folder get.")
  var size = 32

  @Option(help: "Steps between checkpoints, besides those at the ends of epochs.")
  var checkpointEvery: Int?

  @OptionGroup var sharing: DistributedOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(name: .shortAndLong, help: "Show no progress.")
  var quiet = false

  func validate() throws {
    guard epochs > 0, batchSize > 0, splits > 0 else {
      throw ValidationError("--epochs, --batch-size and --splits must be at least 1")
    }
    guard (0..<1).contains(heldOut), heldOut > 0 else {
      throw ValidationError("--held-out must lie between 0 and 1, not be \(heldOut)")
    }
    guard lr > 0, lr.isFinite else { throw ValidationError("--lr must be above 0, not \(lr)") }
    guard (1...1024).contains(size) else { throw ValidationError("--size must lie in 1...1024, not be \(size)") }
    guard (0...64).contains(shift) else { throw ValidationError("--shift must lie in 0...64, not be \(shift)") }
    if let every = checkpointEvery, every < 1 { throw ValidationError("--checkpoint-every must be at least 1") }
  }

  func execute() throws { try sharing.run(threads, train) }

  private func train(with processes: any Communicator) throws {
    let isFirst = processes.rank == 0
    let samples = try LabelledImages(data, size: size)
    let interruption = Interruption()
    var scores: [Double] = []
    for split in 0..<splits {
      let folder = splits == 1 ? out : URL(fileURLWithPath: out).appending(path: "split-\(split)").path
      let run = try ClassifierRun(samples, self, split: split, folder: folder, processes)
      let outcome = try run.trainer.runShowing(
        epochs: epochs, quiet: quiet, prefix: splits > 1 ? "split \(split) " : "", until: interruption)
      guard outcome == .finished else {
        if isFirst { print("\(folder): interrupted; the same command goes on") }
        throw ExitCode(130)
      }
      guard isFirst else { continue }
      let table = try run.confusion()
      try table.picture().save(to: RunFolder(folder).file("confusion.png"))
      let score = table.accuracy
      scores.append(score)
      print("\(folder): accuracy \(String(format: "%.4f", score)) on \(table.total) images that were held out")
      if splits == 1, !quiet { print(table) }
    }
    guard splits > 1, isFirst else { return }
    let mean = scores.reduce(0, +) / Double(scores.count)
    print("mean accuracy of \(splits) splits: \(String(format: "%.4f", mean))")
  }
}
