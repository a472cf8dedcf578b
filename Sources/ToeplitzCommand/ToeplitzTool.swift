import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzTensor

/// The `toeplitz` command, which parses, calls and prints; one file a subcommand.
@main
struct ToeplitzTool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "toeplitz",
    abstract: "Convolutional networks in Swift: run checkpoints trained in PyTorch on the CPU.",
    subcommands: [
      RunCommand.self, InspectCommand.self, ExportCommand.self, QuantizeCommand.self, ConvertCommand.self,
      VerifyCommand.self,
      VocodeCommand.self, TrainCommand.self,
      BenchCommand.self,
    ])
}

/// A subcommand whose failures are one line on standard error, `error: …`, and exit status 1.
protocol ToolCommand: ParsableCommand {
  /// Does the work.
  func execute() throws
}

extension ToolCommand {
  func run() throws {
    do {
      try EnvironmentVariable.check()
      warnOfUnknownVariables()
      try execute()
    } catch let error as ToeplitzError {
      StandardStreams.fail(error.description)
      throw ExitCode(1)
    } catch let error as CocoaError {
      StandardStreams.fail(error.localizedDescription)
      throw ExitCode(1)
    }
  }

  /// A misspelt variable would else have no effect and no message.
  private func warnOfUnknownVariables() {
    let known = EnvironmentVariable.allCases.map(\.rawValue)
    for name in ProcessInfo.processInfo.environment.keys.sorted() where name.hasPrefix("TOEPLITZ_") {
      guard !known.contains(name) else { continue }
      StandardStreams.warn("the environment variable \(name) is none of Toeplitz's (\(known.joined(separator: ", ")))")
    }
  }
}
