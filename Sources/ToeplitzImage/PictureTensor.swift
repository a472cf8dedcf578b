import ToeplitzTensor

extension Picture {
  /// How the numbers of a picture become the elements of a tensor.
  public struct TensorForm: Sendable {
    /// The order of the colours.
    public enum ChannelOrder: String, Sendable, CaseIterable {
      /// Red, green, blue.
      case rgb
      /// Blue, green, red, as OpenCV and Caffe have them.
      case bgr
    }

    /// The order of the axes.
    public enum Layout: String, Sendable, CaseIterable {
      /// `[1, C, H, W]`.
      case nchw
      /// `[1, H, W, C]`.
      case nhwc
    }

    /// 3 for colours, 1 for their luma (ITU-R BT.601, rounded as Pillow's `convert("L")` does).
    public var channels = 3
    /// The order of the colours.
    public var order = ChannelOrder.rgb
    /// The order of the axes.
    public var layout = Layout.nchw
    /// The element type.
    public var dtype = DType.float32
    /// What the brightest sample becomes in a tensor of floating-point numbers, before ``mean`` and
    /// ``standardDeviation``.
    public var range = 1.0
    /// What is subtracted: one number, or one a channel in their order.
    public var mean = [0.0]
    /// What it is divided by then: one number, or one a channel in their order.
    public var standardDeviation = [1.0]

    /// Numbers of float32 from 0 to 1 in `[1, 3, H, W]`.
    public init() {}
  }

  /// The picture as `[1, channels, height, width]`: numbers from 0 to 1 less `mean`, divided by `standardDeviation`.
  ///
  /// - Parameters:
  ///   - channels: 3 for red, green and blue, 1 for their luma (ITU-R BT.601).
  ///   - mean: one number, or one a channel.
  ///   - standardDeviation: one number, or one a channel.
  /// - Throws: ``ToeplitzError`` of kind `argument` for other numbers of channels or factors.
  public func tensor(channels: Int = 3, mean: [Double] = [0], standardDeviation: [Double] = [1]) throws -> Tensor {
    var form = TensorForm()
    (form.channels, form.mean, form.standardDeviation) = (channels, mean, standardDeviation)
    return try tensor(form)
  }

  /// The picture as `[1, C, H, W]` or `[1, H, W, C]`.
  ///
  /// Floating-point numbers are `(sample / brightest * range - mean) / standardDeviation`. Whole numbers are the samples:
  /// all 16 bits of those that have so many in tensors of at least 16 bits, and the upper 8 bits in others.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` for other numbers of channels or factors than 1 and 3, of kind `dtype`
  ///   for an element type that cannot hold 0 to 255 and for whole numbers with a range, mean or standard deviation.
  public func tensor(_ form: TensorForm) throws -> Tensor {
    let factors = form.mean + form.standardDeviation + [form.range]
    guard [1, 3].contains(form.channels), [1, form.channels].contains(form.mean.count),
      [1, form.channels].contains(form.standardDeviation.count), !form.standardDeviation.contains(0),
      factors.allSatisfy(\.isFinite)
    else {
      throw ToeplitzError(
        .argument, "Picture", expected: "1 or 3 channels, and one finite factor for each or for all",
        got: "\(form.channels) channels, \(form.mean), \(form.standardDeviation)")
    }
    if form.dtype.isFloatingPoint {
      func elements<T: TensorScalar>(_ type: T.Type) throws -> Tensor {
        let brightest = Double(bitsPerSample == 8 ? 255 : 65535)
        // Few samples are different: each is converted once.
        let values = (0..<form.channels).map { channel in
          let shift = form.mean[form.mean.count == 1 ? 0 : channel]
          let scale = form.standardDeviation[form.standardDeviation.count == 1 ? 0 : channel]
          return (0...Int(brightest)).map {
            T(converting: (Double($0) / brightest * form.range - shift) / scale)
          }
        }
        return try filled(form) { channel, sample in values[channel][sample] }
      }
      switch form.dtype {
      case .float16: return try elements(Float16.self)
      case .bfloat16: return try elements(BFloat16.self)
      case .float64: return try elements(Double.self)
      default: return try elements(Float.self)
      }
    }
    guard form.dtype.isInteger, form.dtype != .int8 else {
      throw ToeplitzError(
        .dtype, "Picture", expected: "elements that hold numbers from 0 to 255", got: "\(form.dtype)")
    }
    guard form.mean.allSatisfy({ $0 == 0 }), form.standardDeviation.allSatisfy({ $0 == 1 }), form.range == 1 else {
      throw ToeplitzError(
        .dtype, "Picture", expected: "floating-point elements for a range, mean or standard deviation",
        got: "\(form.dtype)")
    }
    // Of 16 bits the upper 8 where there is no room for more.
    let shift = bitsPerSample == 16 && [.uint8, .int16].contains(form.dtype) ? 8 : 0
    func elements<T: TensorScalar & FixedWidthInteger>(_ type: T.Type) throws -> Tensor {
      try filled(form) { _, sample in T(truncatingIfNeeded: sample >> shift) }
    }
    switch form.dtype {
    case .uint8: return try elements(UInt8.self)
    case .int16: return try elements(Int16.self)
    case .uint16: return try elements(UInt16.self)
    case .int32: return try elements(Int32.self)
    case .uint32: return try elements(UInt32.self)
    case .uint64: return try elements(UInt64.self)
    default: return try elements(Int64.self)
    }
  }

  private func filled<T: TensorScalar>(_ form: TensorForm, _ element: (Int, Int) -> T) throws -> Tensor {
    let (pixels, channels) = (width * height, form.channels)
    let isFirst = form.layout == .nchw
    let shape: TensorShape = isFirst ? [1, channels, height, width] : [1, height, width, channels]
    func fill<S: FixedWidthInteger>(_ samples: [S], _ elements: UnsafeMutableBufferPointer<T>) {
      for channel in 0..<channels {
        let source = form.order == .rgb ? channel : 2 - channel
        for pixel in 0..<pixels {
          let sample: Int
          if channels == 3 {
            sample = Int(samples[3 &* pixel &+ source])
          } else {
            let (red, green, blue) = (samples[3 &* pixel], samples[3 &* pixel &+ 1], samples[3 &* pixel &+ 2])
            sample = (19595 &* Int(red) &+ 38470 &* Int(green) &+ 7471 &* Int(blue) &+ 32768) >> 16
          }
          elements[isFirst ? channel &* pixels &+ pixel : channels &* pixel &+ channel] = element(channel, sample)
        }
      }
    }
    var result = try Tensor.zeros(shape, dtype: form.dtype)
    try result.withMutableElements(T.self) { elements in
      switch samples {
      case .bytes(let samples): fill(samples, elements)
      case .words(let samples): fill(samples, elements)
      }
    }
    return result
  }
}
