import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTraining

/// `toeplitz train denoiser`: a small network that takes noise out of speech.
struct TrainDenoiserCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "denoiser",
    abstract: "Train a small network that takes noise out of speech.",
    discussion: """
      Reads WAV and FLAC files of clean speech from a folder (Scripts/make-speech.py makes one), adds white, pink and humming \
      noise, and trains a network that multiplies the short-time spectrum by a mask. The score is how many dB the noise of \
      held-out speech gets quieter (scale-invariant signal-to-distortion ratio). The folder gets checkpoints, metrics.jsonl, \
      model.safetensors and three recordings: clean.wav, noisy.wav and denoised.wav. A run that was stopped goes on from its \
      last checkpoint when the command is given again, and ends with the same bits.
      """)

  @Option(help: "A folder of WAV or FLAC files, also in folders inside.")
  var data: String

  @Option(help: "A folder of recordings that are held out.")
  var validation: String

  @Option(name: .shortAndLong, help: "The folder of the run.")
  var out: String

  @Option(help: "How often all recordings are seen.")
  var epochs = 12

  @Option(help: "Segments of a step.")
  var batchSize = 8

  @Option(help: "The largest learning rate.")
  var lr = 0.002

  @Option(help: "End after so many epochs without a better validation.")
  var patience: Int?

  @Option(help: "What initial weights, order, segments and noise follow from.")
  var seed: UInt64 = 0

  @OptionGroup var sharing: DistributedOptions

  @OptionGroup var threads: ThreadOptions

  @Flag(name: .shortAndLong, help: "Show no progress.")
  var quiet = false

  func validate() throws {
    guard epochs > 0, batchSize > 0 else { throw ValidationError("--epochs and --batch-size must be at least 1") }
    guard lr > 0, lr.isFinite else { throw ValidationError("--lr must be above 0, not \(lr)") }
    if let patience, patience < 0 { throw ValidationError("--patience must be at least 0") }
  }

  func execute() throws { try sharing.run(threads, train) }

  private func train(with processes: any Communicator) throws {
    let run = try DenoiserRun(self, processes)
    let outcome = try run.trainer.runShowing(epochs: epochs, quiet: quiet, until: Interruption())
    if outcome == .interrupted {
      if processes.rank == 0 { print("\(out): interrupted; the same command goes on") }
      throw ExitCode(130)
    }
    guard processes.rank == 0 else { return }
    try run.writeExample(to: out)
    let found = try run.measured()
    print(
      String(
        format: "%@: held-out speech with noise %.2f dB, denoised %.2f dB, %.2f dB better", out, found.noisy,
        found.denoised, found.denoised - found.noisy))
  }
}
