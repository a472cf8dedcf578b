import Foundation
import Testing
import ToeplitzTestSupport

/// What a run of the tool printed and returned.
struct ToolRun {
  /// What it wrote to standard output, as it is.
  var bytes: Data
  var output: String { String(decoding: bytes, as: UTF8.self) }
  var errors: String
  var status: Int32
  var seconds: Double
}

/// The program that was built beside these tests.
func tool() throws -> URL {
  let place = Bundle.allBundles.map(\.bundleURL).first { $0.pathExtension == "xctest" } ?? Bundle.main.bundleURL
  let folders = [
    place.deletingLastPathComponent(), URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent(),
  ]
  return try #require(
    folders.map { $0.appending(path: "toeplitz") }.first { FileManager.default.isExecutableFile(atPath: $0.path) })
}

/// Runs the tool as its users do: as a process, whose number `body` gets while it runs.
///
/// - Parameters:
///   - input: what it finds on standard input.
///   - program: another program to run instead, such as a shell.
func runTool(
  _ arguments: [String], in folder: URL, environment: [String: String] = [:], input: Data? = nil,
  program: String? = nil, _ body: (Int32) -> Void = { _ in }
) throws -> ToolRun {
  let process = Process()
  process.executableURL = try program.map { URL(fileURLWithPath: $0) } ?? tool()
  process.arguments = arguments
  process.currentDirectoryURL = folder
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
  let (output, errors) = (Pipe(), Pipe())
  process.standardOutput = output
  process.standardError = errors
  let start = ContinuousClock.now
  if let input {
    // A file of its own, so that nobody has to write while others read.
    let file = folder.appending(path: ".input")
    try input.write(to: file)
    let pipe = Pipe()
    let writer = Process()
    writer.executableURL = URL(fileURLWithPath: "/bin/cat")
    writer.arguments = [file.path]
    writer.standardOutput = pipe
    process.standardInput = pipe
    try writer.run()
  }
  try process.run()
  body(process.processIdentifier)
  let bytes = output.fileHandleForReading.readDataToEndOfFile()
  let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  return ToolRun(
    bytes: bytes, errors: complaint, status: process.terminationStatus,
    seconds: (ContinuousClock.now - start) / .seconds(1))
}

/// Calls `body` with a new folder that is removed afterwards.
func withFolder(_ body: (URL) throws -> Void) throws {
  let folder = try Fixtures.temporaryFolder()
  defer { try? FileManager.default.removeItem(at: folder) }
  try body(folder)
}
