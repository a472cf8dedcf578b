import Foundation
import Testing
import ToeplitzTestSupport

/// What a run of the tool printed and returned.
struct ToolRun {
  var output: String
  var errors: String
  var status: Int32
  var seconds: Double
}

/// The program that was built beside these tests.
private func tool() throws -> URL {
  let place = Bundle.allBundles.map(\.bundleURL).first { $0.pathExtension == "xctest" } ?? Bundle.main.bundleURL
  let folders = [
    place.deletingLastPathComponent(), URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent(),
  ]
  return try #require(
    folders.map { $0.appending(path: "toeplitz") }.first { FileManager.default.isExecutableFile(atPath: $0.path) })
}

/// Runs the tool as its users do: as a process, whose number `body` gets while it runs.
func runTool(
  _ arguments: [String], in folder: URL, environment: [String: String] = [:], _ body: (Int32) -> Void = { _ in }
) throws -> ToolRun {
  let process = Process()
  process.executableURL = try tool()
  process.arguments = arguments
  process.currentDirectoryURL = folder
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  let (output, errors) = (Pipe(), Pipe())
  process.standardOutput = output
  process.standardError = errors
  let start = ContinuousClock.now
  try process.run()
  body(process.processIdentifier)
  let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  return ToolRun(
    output: text, errors: complaint, status: process.terminationStatus,
    seconds: (ContinuousClock.now - start) / .seconds(1))
}

/// Calls `body` with a new folder that is removed afterwards.
func withFolder(_ body: (URL) throws -> Void) throws {
  let folder = try Fixtures.temporaryFolder()
  defer { try? FileManager.default.removeItem(at: folder) }
  try body(folder)
}
