import ToeplitzTensor

extension Picture {
  /// Reads the picture in the bytes of a file, such as `[UInt8]` or `Data`, the first of which say what it is.
  ///
  /// - Parameters:
  ///   - bytes: the whole file.
  ///   - name: what errors call it.
  ///   - appliesOrientation: whether a picture that says how the camera was held (EXIF) is turned upright.
  /// - Throws: ``ToeplitzError`` as ``init(contentsOf:appliesOrientation:)`` does.
  public init<Bytes: Collection>(bytes: Bytes, name: String = "picture", appliesOrientation: Bool = true) throws
  where Bytes.Element == UInt8 {
    func read(_ bytes: UnsafeRawBufferPointer) throws -> Picture {
      try Picture(bytes: bytes, name: name, appliesOrientation: appliesOrientation)
    }
    let picture = try bytes.withContiguousStorageIfAvailable { try read(UnsafeRawBufferPointer($0)) }
    self = try picture ?? Array(bytes).withUnsafeBytes(read)
  }

  /// The picture whose red, green and blue these are, row by row, 8 bits each.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` if there are not three for each pixel.
  public init(width: Int, height: Int, rgb: [UInt8]) throws {
    guard width > 0, height > 0, width <= Self.mostPixels, height <= Self.mostPixels / width,
      rgb.count == 3 * width * height
    else {
      throw ToeplitzError(
        .argument, "Picture", expected: "1 to \(Self.mostPixels) pixels and 3 bytes for each",
        got: "\(width) x \(height) and \(rgb.count) bytes")
    }
    self.init(width: width, height: height, samples: .bytes(rgb))
  }

  /// The picture in a tensor `[C, H, W]` or `[1, C, H, W]` with three channels or one, 8 bits a sample.
  ///
  /// Floating-point numbers from 0 to 1 are rounded and cut to the range, NaN is black; uint8 is taken as it is.
  ///
  /// - Throws: ``ToeplitzError`` of kind `shape` or `dtype` for another tensor.
  public init(_ tensor: Tensor) throws {
    let shape = tensor.rank == 4 && tensor.shape[0] == 1 ? TensorShape(Array(tensor.shape.dropFirst())) : tensor.shape
    guard shape.rank == 3, [1, 3].contains(shape[0]) else {
      throw ToeplitzError(.shape, "Picture", expected: "a tensor [C, H, W] of 1 or 3 channels", got: "\(tensor.shape)")
    }
    let isFloat = tensor.dtype.isFloatingPoint
    guard isFloat || tensor.dtype == .uint8 else {
      throw ToeplitzError(
        .dtype, "Picture", expected: "floating-point numbers from 0 to 1, or uint8", got: "\(tensor.dtype)")
    }
    func samples<T: TensorScalar>(_ type: T.Type) throws -> [UInt8] {
      try tensor.scalars(of: type).map { element in
        let level = isFloat ? (element.doubleValue * 255).rounded() : element.doubleValue
        return level.isNaN ? 0 : UInt8(Swift.max(0, Swift.min(255, level)))
      }
    }
    let planes = try samples(tensor.dtype.scalarType)
    let (pixels, other) = (shape[1] * shape[2], shape[0] == 3 ? shape[1] * shape[2] : 0)
    let rgb = (0..<pixels).flatMap { pixel in (0..<3).map { planes[$0 * other + pixel] } }
    try self.init(width: shape[2], height: shape[1], rgb: rgb)
  }

  /// Red, green and blue of each pixel, row by row, 8 bits each; of deeper pictures the upper 8.
  public var bytes: [UInt8] {
    switch samples {
    case .bytes(let samples): samples
    case .words(let samples): samples.map { UInt8($0 >> 8) }
    }
  }

  /// Writes the picture as a PNG file, 8 bits a sample.
  ///
  /// - Throws: ``ToeplitzError`` of kind `file` if it cannot be written.
  public func save(to path: String) throws {
    let png = pngBytes()
    try AtomicFile.write(to: path) { try $0.write(png) }
  }
}
