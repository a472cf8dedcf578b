import ArgumentParser
import Toeplitz
import ToeplitzTensor

/// What commands that run models have in common.
struct ModelOptions: ParsableArguments {
  @OptionGroup var threads: ThreadOptions

  @Option(
    help: """
      Refuse models whose tensors together take more megabytes than this. (default: 640, and 64 bytes for each byte of \
      the files; pictures count as the numbers they become)
      """)
  var memory: Int?

  @Option(
    help: """
      Refuse models whose first results take more seconds of processor time than this. (default: 8, and a second for each \
      megabyte of the files)
      """)
  var timeLimit: Double?

  @Flag(help: "Run the operations as they stand in the file, without fusing any.")
  var plain = false

  func validate() throws {
    if let memory, !(1...(1 << 30)).contains(memory) {
      throw ValidationError("--memory must be at least 1, not \(memory)")
    }
    if let timeLimit, !(timeLimit > 0) { throw ValidationError("--time-limit must be above 0, not \(timeLimit)") }
  }

  /// Lets the options take effect for the whole process, and reads what comes out of pipes before time counts.
  ///
  /// - Parameter paths: the files that will be opened.
  /// - Returns: What has to be met before anything is written, and what keeps the bytes of pipes.
  func apply(reading paths: [String] = []) throws -> (deadline: Deadline, streams: [MappedFile]) {
    threads.apply()
    Platform.nameMemoryOption("--memory")
    // A damaged file can ask for any amount of memory; what it can get is bounded by what is there.
    if let memory {
      Platform.limitMemory(to: memory << 20)
    } else if EnvironmentVariable.memoryLimit.value == nil {
      Platform.limitMemory(to: 640 << 20, perByteOfFiles: 64)
    }
    let streams = try StandardStreams.read(paths)
    return (Deadline(seconds: timeLimit, threads: ThreadPool.shared.threadCount), streams)
  }
}
