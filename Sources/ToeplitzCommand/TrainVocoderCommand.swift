import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTraining

/// `toeplitz train vocoder`: a HiFi-GAN generator against its discriminators.
struct TrainVocoderCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "vocoder",
    abstract: "Train a HiFi-GAN generator, which makes speech of mel spectrograms.",
    discussion: """
      Reads WAV and FLAC files from a folder (Scripts/make-speech.py makes one), trains on segments at random places, and \
      measures the L1 distance of log-mel spectrograms of recordings that were held out. The folder gets checkpoints, \
      metrics.jsonl, config.json and generator.safetensors, so "toeplitz vocode --model FOLDER" uses it, and the authors' \
      g_* and do_* files, with which their PyTorch code goes on. A run that was stopped in any way goes on from its last \
      checkpoint when the command is given again, and ends with the same bits.
      """)

  @Option(help: "A folder of WAV or FLAC files, also in folders inside.")
  var data: String

  @Option(help: "A folder of recordings that are held out.")
  var validation: String?

  @Option(name: .shortAndLong, help: "The folder of the run.")
  var out: String

  @Option(help: "The generator's config.json. (default: that of --from, or of the bundled model)")
  var config: String?

  @Option(help: "Weights of a generator to begin with: a model folder or a file such as g_00010000.")
  var from: String?

  @Option(help: "Weights of discriminators to begin with: a file such as do_00010000.")
  var discriminators: String?

  @Flag(inversion: .prefixedNo, help: "Train against discriminators.")
  var adversarial = true

  @Option(help: "The discriminators have a part of the authors' channels: one 1st, 2nd, 4th or 8th.")
  var divisor = 1

  @Option(help: "How often all recordings are seen.")
  var epochs = 100

  @Option(help: "Segments of a step.")
  var batchSize = 16

  @Option(help: "Samples of a segment, a multiple of the generator's hop.")
  var segment = 8192

  @Option(help: "The learning rate.")
  var lr = 2e-4

  @Option(help: "What the learning rate is multiplied by after each epoch.")
  var lrDecay = 0.999

  @Option(help: "Steps within which the learning rate grows to its value.")
  var warmUp = 0

  @Option(help: "Gradients of a larger norm are made shorter.")
  var clip: Double?

  @Option(help: "The weight of the mel spectrograms' distance.")
  var melWeight = 45.0

  @Option(help: "The weight of the multi-resolution STFT distance.")
  var stftWeight = 0.0

  @Option(
    help: "How much of the average of weights stays at each step, which is validated and written; 0 for no average.")
  var average = 0.999

  @Option(help: "End after so many epochs without a better validation.")
  var patience: Int?

  @Option(help: "What initial weights, order and segments follow from.")
  var seed: UInt64 = 0

  @Option(help: "Steps between checkpoints, besides those at the ends of epochs.")
  var checkpointEvery: Int?

  @OptionGroup var sharing: DistributedOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(name: .shortAndLong, help: "Show no progress.")
  var quiet = false

  func validate() throws {
    guard epochs > 0, batchSize > 0, segment > 0 else {
      throw ValidationError("--epochs, --batch-size and --segment must be at least 1")
    }
    guard lr > 0, lr.isFinite, lrDecay > 0, lrDecay <= 1 else {
      throw ValidationError("--lr must be above 0 and --lr-decay above 0 and at most 1")
    }
    guard warmUp >= 0, clip ?? 1 > 0 else { throw ValidationError("--warm-up must be at least 0 and --clip above 0") }
    guard melWeight >= 0, stftWeight >= 0 else { throw ValidationError("weights of losses must be at least 0") }
    guard [1, 2, 4, 8].contains(divisor) else { throw ValidationError("--divisor must be 1, 2, 4 or 8") }
    guard (0..<1).contains(average) else { throw ValidationError("--average must lie in 0..<1, not be \(average)") }
    if let every = checkpointEvery, every < 1 { throw ValidationError("--checkpoint-every must be at least 1") }
    if let patience, patience < 0 { throw ValidationError("--patience must be at least 0") }
    if discriminators != nil, !adversarial { throw ValidationError("--discriminators goes with --adversarial") }
  }

  func execute() throws { try sharing.run(threads, train) }

  private func train(with processes: any Communicator) throws {
    let isFirst = processes.rank == 0
    let run = try VocoderRun(self, processes)
    if !quiet, isFirst { StandardStreams.warn(run.description) }
    let outcome = try run.trainer.runShowing(epochs: epochs, quiet: quiet, until: Interruption())
    guard isFirst else {
      if outcome == .interrupted || outcome == .nonFinite { throw ExitCode(130) }
      return
    }
    try run.writeModels()
    switch outcome {
    case .finished: print("\(out): done")
    case .stoppedEarly: print("\(out): validation did not get better any more")
    case .interrupted, .nonFinite:
      print("\(out): \(outcome.rawValue); the same command goes on")
      throw ExitCode(130)
    }
  }
}
