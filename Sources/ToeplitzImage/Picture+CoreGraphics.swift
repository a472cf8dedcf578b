#if canImport(CoreGraphics)
  import CoreGraphics
  import ToeplitzTensor

  // Pictures of Apple's frameworks.

  extension Picture {
    /// The pixels of an image in sRGB, 8 bits a sample, drawn over black where it is transparent.
    ///
    /// - Throws: ``ToeplitzError`` of kind `memory` if it has too many pixels, of kind `argument` if it cannot be drawn.
    public init(_ image: CGImage) throws {
      let (width, height) = (image.width, image.height)
      guard width > 0, height > 0, width <= Self.mostPixels, height <= Self.mostPixels / width else {
        throw ToeplitzError(
          .memory, "CGImage", expected: "1 to \(Self.mostPixels) pixels", got: "\(width) x \(height)")
      }
      var pixels = [UInt8](repeating: 0, count: 4 * width * height)
      let isDrawn = pixels.withUnsafeMutableBytes { pixels in
        guard let space = CGColorSpace(name: CGColorSpace.sRGB),
          let context = CGContext(
            data: pixels.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
            space: space, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
        else { return false }
        context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
        return true
      }
      guard isDrawn else {
        throw ToeplitzError(.argument, "CGImage", expected: "an image that can be drawn in sRGB", got: "another")
      }
      var samples = [UInt8](repeating: 0, count: 3 * width * height)
      for pixel in 0..<(width * height) {
        for channel in 0..<3 { samples[3 * pixel + channel] = pixels[4 * pixel + channel] }
      }
      self.init(width: width, height: height, samples: .bytes(samples))
    }

    /// The picture as an image in sRGB, 8 bits a sample.
    ///
    /// - Throws: ``ToeplitzError`` of kind `memory` if the system does not make one.
    public func cgImage() throws -> CGImage {
      let bytes = bytes
      guard let space = CGColorSpace(name: CGColorSpace.sRGB),
        let copy = bytes.withUnsafeBufferPointer({ CFDataCreate(nil, $0.baseAddress, $0.count) }),
        let provider = CGDataProvider(data: copy),
        let image = CGImage(
          width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 24, bytesPerRow: 3 * width, space: space,
          bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.none.rawValue), provider: provider, decode: nil,
          shouldInterpolate: false, intent: .defaultIntent)
      else {
        throw ToeplitzError(.memory, "cgImage", expected: "memory for an image", got: "\(width) x \(height)")
      }
      return image
    }
  }
#endif
