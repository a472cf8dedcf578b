import ArgumentParser

@main
struct ToeplitzTool: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "toeplitz", abstract: "Convolutional networks in Swift.")
}
