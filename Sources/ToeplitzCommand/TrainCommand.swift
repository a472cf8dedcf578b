import ArgumentParser

/// `toeplitz train`: networks trained here; one subcommand a kind.
struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a network.",
    subcommands: [
      TrainClassifierCommand.self, TrainDenoiserCommand.self, TrainVocoderCommand.self, TrainTimeCommand.self,
    ])
}
