import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzModels

/// `toeplitz vocode`: speech through the mel spectrogram and back through a HiFi-GAN generator.
struct VocodeCommand: ToolCommand {
  static let configuration = CommandConfiguration(
    commandName: "vocode",
    abstract: "Resynthesise speech with a HiFi-GAN generator.",
    discussion: """
      Turns a recording into a log-mel spectrogram and the spectrogram back into sound. Without arguments it \
      does so with the bundled sentence and the bundled generator. With --stream sound goes through as it comes, such as \
      arecord -t raw -f FLOAT_LE -r 22050 | toeplitz vocode --stream --raw f32 --rate 22050 - -o - | aplay -t raw -f FLOAT_LE -r 22050
      """)

  @Argument(help: "A WAV or FLAC file of any sample rate and channel count, or - for standard input.")
  var input: String?

  @Option(
    name: .shortAndLong,
    help: "A folder with config.json and the weights in any format, or one of these files with the other beside it.")
  var model: String?

  @Option(name: .shortAndLong, help: "Where to write the result as a WAV file, or - for standard output.")
  var output = "vocoded.wav"

  @Flag(help: "Write 32-bit float samples instead of 16-bit integers.")
  var float = false

  @OptionGroup var threads: ThreadOptions

  @Flag(name: .shortAndLong, help: "Show no progress.")
  var quiet = false

  @OptionGroup var streaming: VocodeStreamOptions

  func validate() throws {
    try streaming.validate()
  }

  func execute() throws {
    threads.apply()
    if streaming.stream {
      let path = try input.map(StandardStreams.input) ?? Bundled.path("speech.wav")
      let vocoder = try Vocoder(contentsOf: try model ?? Bundled.folder())
      return try VocodeStream(streaming, from: path, to: output, float: float, show: { show($0) }).run(vocoder)
    }
    let recording = try AudioFile(path: try input.map(StandardStreams.input) ?? Bundled.path("speech.wav"))
    for warning in recording.warnings { StandardStreams.warn("\(recording.path): \(warning)") }
    let vocoder = try Vocoder(contentsOf: try model ?? Bundled.folder())
    let writer = try WAVWriter(
      path: StandardStreams.output(output), sampleRate: vocoder.sampleRate, encoding: float ? .float32 : .int16)
    let place = vocoder.loadReport.place
    if !place.isEmpty, !quiet {
      FileHandle.standardError.write(Data("weights: \(vocoder.loadReport)\n".utf8))
    }
    let clock = ContinuousClock()
    let start = clock.now
    let samples = try vocoder.resynthesize(recording, to: writer) { show($0) }
    let seconds = (clock.now - start) / .seconds(1)
    let length = Double(samples) / Double(vocoder.sampleRate)
    let speed = String(format: "%.2f s of audio in %.3f s, %.1f times real time", length, seconds, length / seconds)
    StandardStreams.report("\(output): \(speed)", outputs: [output])
  }

  /// A progress bar on a terminal, nothing into a file or pipe.
  private func show(_ fraction: Double) {
    guard !quiet, isatty(FileHandle.standardError.fileDescriptor) == 1 else { return }
    let width = 40
    let full = Int(fraction * Double(width))
    let bar = String(repeating: "#", count: full) + String(repeating: "·", count: width - full)
    let end = fraction >= 1 ? "\n" : ""
    FileHandle.standardError.write(Data("\r\(bar) \(Int(fraction * 100)) %\(end)".utf8))
  }
}
