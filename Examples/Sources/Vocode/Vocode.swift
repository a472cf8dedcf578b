// Speech through a HiFi-GAN vocoder: Vocode MODEL-FOLDER IN.wav OUT.wav
import ToeplitzModels

@main struct Vocode {
  static func main() throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 4 else { return print("usage: Vocode MODEL-FOLDER IN.wav OUT.wav") }
    let vocoder = try Vocoder(contentsOf: arguments[1])
    let speech = try AudioFile(path: arguments[2])
    // A mel spectrogram, the generator, samples: piece by piece, so that a recording may be of any length.
    let output = try WAVWriter(path: arguments[3], sampleRate: vocoder.sampleRate)
    try vocoder.resynthesize(speech, to: output)
    print("\(speech.duration) s of speech in \(arguments[3])")
  }
}
