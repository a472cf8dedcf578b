import ArgumentParser
import ToeplitzImage

extension Picture.TensorForm.ChannelOrder: ExpressibleByArgument {}
extension Picture.TensorForm.Layout: ExpressibleByArgument {}

/// How pictures become numbers.
struct ImageOptions: ParsableArguments {
  /// How a picture gets into a size of another shape.
  enum Fit: String, ExpressibleByArgument, CaseIterable {
    /// It is distorted.
    case stretch
    /// Its edges are cut off.
    case crop
    /// It gets a frame.
    case letterbox
  }

  @Option(help: "Resize pictures to this size: one number, or HEIGHTxWIDTH. (default: as they are)")
  var imageSize: String?

  @Option(
    help: """
      How pictures get into a size of another shape: stretch distorts them, crop takes the middle, letterbox puts a frame \
      around them. Without --image-size it is the size that the model has. (default: stretch; crop with --image-resize)
      """)
  var imageFit: Fit?

  @Option(help: "Resize pictures so that their shorter side has this length, before their middle is taken.")
  var imageResize: Int?

  @Option(help: "The grey of the frame of letterbox, from 0 to 255.")
  var imageFill: UInt8 = 114

  @Option(help: "The order of the colours.")
  var imageOrder = Picture.TensorForm.ChannelOrder.rgb

  @Option(help: "The order of the axes. (default: as 1 or 3 channels in the model's shape tell, else nchw)")
  var imageLayout: Picture.TensorForm.Layout?

  @Option(help: "What white becomes in floating-point inputs, before mean and std: 1, or 255.")
  var imageRange = 1.0

  @Option(help: "What is subtracted from a picture's numbers: one number, or three with commas.")
  var imageMean = "0"

  @Option(help: "What they are divided by then: one number, or three with commas.")
  var imageStd = "1"

  @Flag(
    inversion: .prefixedNo, help: "Turn pictures upright that say how the camera was held (EXIF).")
  var imageOrientation = true

  var mean: [Double] { numbers(imageMean) }
  var standardDeviation: [Double] { numbers(imageStd) }

  /// Whether samples stay as they are.
  var isPlain: Bool { imageRange == 1 && mean.allSatisfy { $0 == 0 } && standardDeviation.allSatisfy { $0 == 1 } }

  /// What ``imageSize`` says.
  func size() throws -> (height: Int, width: Int)? {
    guard let imageSize else { return nil }
    let parts = imageSize.split(separator: "x", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }.filter { (1...65536).contains($0) }
    guard numbers.count == parts.count, let height = numbers.first, let width = numbers.last, numbers.count <= 2 else {
      throw ValidationError("--image-size takes a number from 1 to 65536 or HEIGHTxWIDTH, not \(imageSize)")
    }
    return (height, width)
  }

  private func numbers(_ text: String) -> [Double] {
    text.split(separator: ",", omittingEmptySubsequences: false).compactMap { Double($0) }
  }

  func validate() throws {
    for (name, text, values) in [("--image-mean", imageMean, mean), ("--image-std", imageStd, standardDeviation)] {
      let count = text.split(separator: ",", omittingEmptySubsequences: false).count
      guard values.count == count, values.count == 1 || values.count == 3, values.allSatisfy(\.isFinite) else {
        throw ValidationError("\(name) takes one number or three, not \(text)")
      }
    }
    guard !standardDeviation.contains(0) else { throw ValidationError("--image-std must not be 0") }
    guard imageRange.isFinite, imageRange > 0 else {
      throw ValidationError("--image-range must be above 0, not \(imageRange)")
    }
    _ = try size()
    if let imageResize, !(1...65536).contains(imageResize) {
      throw ValidationError("--image-resize takes a number from 1 to 65536, not \(imageResize)")
    }
    if imageResize != nil, let imageFit, imageFit != .crop {
      throw ValidationError("--image-resize goes with --image-fit crop only")
    }
  }
}
