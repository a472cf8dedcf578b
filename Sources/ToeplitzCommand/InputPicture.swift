import ArgumentParser
import Foundation
import Toeplitz
import ToeplitzGraph
import ToeplitzImage

/// A picture file that holds the input of a model, whatever its name is.
struct InputPicture {
  /// Where it is.
  let path: String

  /// The picture as the given input wants it.
  func tensor(for port: PortDescription?, _ options: ImageOptions) throws -> Tensor {
    let (form, size) = try form(for: port, options)
    let picture = try Picture(contentsOf: path, appliesOrientation: options.imageOrientation)
    let fitted = try options.fitted(picture, to: size, of: path)
    // A compressed picture counts as what the file of its numbers would.
    Platform.noteFile(fitted.width * fitted.height * form.channels * form.dtype.byteSize)
    let tensor = try fitted.tensor(form)
    // Inputs without a batch, and grey ones without channels.
    guard let rank = port?.dimensions?.count, rank < 4 else { return tensor }
    return try tensor.reshaped(
      rank == 3 ? TensorShape(Array(tensor.shape.dropFirst())) : [fitted.height, fitted.width])
  }

  /// How the input wants its numbers, and the size if it says one.
  private func form(
    for port: PortDescription?, _ options: ImageOptions
  ) throws -> (Picture.TensorForm, (height: Int?, width: Int?)) {
    var form = Picture.TensorForm()
    form.order = options.imageOrder
    form.dtype = port?.dtype ?? .float32
    (form.range, form.mean, form.standardDeviation) = (options.imageRange, options.mean, options.standardDeviation)
    form.layout = options.imageLayout ?? .nchw
    guard form.dtype.isFloatingPoint || form.dtype.isInteger && form.dtype != .int8 else {
      throw ToeplitzError(
        .dtype, path, expected: "an input that can hold numbers from 0 to 255 for a picture", got: "\(form.dtype)")
    }
    if !form.dtype.isFloatingPoint, !options.isPlain {
      throw ToeplitzError(
        .argument, path, expected: "no --image-mean, --image-std or --image-range for an input of \(form.dtype)",
        got: "some")
    }
    guard let port, let dimensions = port.dimensions else { return (form, (nil, nil)) }
    func refused() -> ToeplitzError {
      ToeplitzError(
        .shape, path, expected: "an input [N, C, H, W] or [N, H, W, C] (--image-layout) with C = 1 or 3 for a picture",
        got: "'\(port.name)' of \(port.description)")
    }
    func fixed(_ dimension: AxisSize) -> Int? {
      if case .fixed(let size) = dimension { size } else { nil }
    }
    switch dimensions.count {
    case 2:
      form.channels = 1
      return (form, (fixed(dimensions[0]), fixed(dimensions[1])))
    case 3, 4:
      let sizes = dimensions.suffix(3).map(fixed)
      // Channels are 1 or 3; sides hardly ever are. Where only one end says so it is that one.
      func mayBeChannels(_ size: Int?) -> Bool { size.map { $0 == 1 || $0 == 3 } ?? true }
      if options.imageLayout == nil {
        let (first, last) = (sizes[0].map { mayBeChannels($0) }, sizes[2].map { mayBeChannels($0) })
        if first != true, last == true { form.layout = .nhwc }
      }
      let isFirst = form.layout == .nchw
      let channels = isFirst ? sizes[0] : sizes[2]
      guard mayBeChannels(channels) else { throw refused() }
      form.channels = channels ?? 3
      return (form, isFirst ? (sizes[1], sizes[2]) : (sizes[0], sizes[1]))
    default: throw refused()
    }
  }
}

extension ImageOptions {
  /// The picture in the size that the options ask for, or that the input has if they say only how to fit it.
  fileprivate func fitted(
    _ picture: Picture, to wanted: (height: Int?, width: Int?), of path: String
  ) throws -> Picture {
    let given = try size()
    guard given != nil || imageFit != nil || imageResize != nil else {
      guard wanted.height ?? picture.height == picture.height, wanted.width ?? picture.width == picture.width else {
        let (height, width) = (wanted.height ?? picture.height, wanted.width ?? picture.width)
        throw ToeplitzError(
          .shape, path,
          expected:
            "a picture of height \(height) and width \(width) (--image-fit stretch, crop or letterbox resizes it)",
          got: "\(picture.height) and \(picture.width)")
      }
      return picture
    }
    var picture = picture
    if let imageResize { picture = try picture.resized(shorterSide: imageResize) }
    guard given != nil || imageFit != nil else { return picture }
    guard let height = given?.height ?? wanted.height, let width = given?.width ?? wanted.width else {
      throw ToeplitzError(
        .argument, path, expected: "--image-size, because the model takes pictures of any size", got: "none")
    }
    for (option, input) in [(height, wanted.height), (width, wanted.width)] where input ?? option != option {
      throw ToeplitzError(
        .shape, path, expected: "--image-size \(wanted.height ?? height)x\(wanted.width ?? width), as the model has it",
        got: "\(height)x\(width)")
    }
    switch imageFit ?? (imageResize == nil ? .stretch : .crop) {
    case .stretch: return try picture.resized(width: width, height: height)
    case .letterbox: return try picture.letterboxed(width: width, height: height, level: imageFill)
    case .crop:
      guard imageResize != nil else { return try picture.resizedToFill(width: width, height: height) }
      guard picture.width >= width, picture.height >= height else {
        throw ToeplitzError(
          .argument, path, expected: "--image-resize of at least the size that is cropped, \(height)x\(width)",
          got: "\(picture.height)x\(picture.width)")
      }
      return try picture.centerCropped(width: width, height: height)
    }
  }
}
