import ArgumentParser
import Foundation
import Toeplitz

/// The `toeplitz` command, which parses, calls and prints; one file a subcommand.
@main
struct ToeplitzTool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "toeplitz",
    abstract: "Convolutional networks in Swift: run checkpoints trained in PyTorch on the CPU.",
    subcommands: [
      RunCommand.self, InspectCommand.self, ExportCommand.self, ConvertCommand.self, VerifyCommand.self,
      VocodeCommand.self,
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
      try execute()
    } catch let error as ToeplitzError {
      throw report(error.description)
    } catch let error as CocoaError {
      throw report(error.localizedDescription)
    }
  }

  private func report(_ text: String) -> ExitCode {
    let line = text.replacing("\n", with: " ")
    FileHandle.standardError.write(Data("error: \(line)\n".utf8))
    return ExitCode(1)
  }
}
