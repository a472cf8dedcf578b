import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension ConvolutionEngine {
  /// The output as the store function sees it; ``move(_:sample:channel:)`` points it at a group of channels.
  func outputDescription(
    phases: UnsafePointer<(Int32, Int32, Int32)>?, count: Int, wide: Int
  ) -> tz_conv_output {
    let stencil = packed.stencil
    func triple(_ values: SIMD3<Int>) -> (Int, Int, Int) { (values[0], values[1], values[2]) }
    return tz_conv_output(
      y: output.base, residual: residuals, scale: epilogue.outputScale, slope: ending.slope,
      bounded: ending.ceiling != nil, ceiling: ending.ceiling ?? 0,
      channel: output.channel, stride: triple(output.spatial), size: triple(output.size),
      step: triple(stencil.outStep), shift: triple(stencil.outShift), phases: phases, phase_count: Int32(count),
      wide: Int32(wide), activation: ending.activation?.function, a: ending.activation?.a ?? 0,
      b: ending.activation?.b ?? 0)
  }

  /// Points the description at a sample and channel.
  func move(_ description: inout tz_conv_output, sample: Int, channel: Int) {
    let distance = (sample * output.batch + channel * output.channel) * storedSize
    description.y = output.base + distance
    description.residual.0 = residuals.0.map { $0 + distance }
    description.residual.1 = residuals.1.map { $0 + distance }
  }
}

extension ConvolutionEngine {
  /// A request to pack some channels, but for the layout of the panel and the axes.
  func packRequest(sample: Int, channel: Int, count: Int, panel: UnsafeMutableRawPointer) -> tz_pack {
    var request = tz_pack()
    request.x = UnsafeRawPointer(input.base + (sample * input.batch + channel * input.channel) * storedSize)
    request.panel = panel
    request.channels = Int32(count)
    request.x_channel = input.channel
    request.mode = Int32(mode.kernelCode)
    request.slope = epilogue.inputSlope
    return request
  }

  /// An axis of such a request.
  func packAxis(_ axis: Int, first: Int, count: Int, step: Int, phases: UnsafeBufferPointer<Int>) -> tz_pack_axis {
    tz_pack_axis(
      size: input.size[axis], stride: input.spatial[axis], first: first, count: count, step: step,
      phases: phases.baseAddress, phase_count: Int32(phases.count))
  }
}

/// What the kernels do to a result last: the rectifiers in registers, other activations (computed in float32 only; other types are
/// activated afterwards) by a function of what has been stored.
struct KernelEpilogue {
  let slope: Double
  let ceiling: Double?
  let activation: (function: tz_unary_function, a: Float, b: Float)?

  init(_ epilogue: Epilogue) {
    if case .clamp(0, let high) = epilogue.activation, epilogue.outputSlope == 1, high >= 0 {
      (slope, ceiling, activation) = (0, high, nil)
    } else {
      (slope, ceiling) = (epilogue.outputSlope, nil)
      activation = epilogue.activation?.function(InstructionSet.current)
    }
  }
}

extension PaddingMode {
  /// The number the pack function knows it by.
  var kernelCode: Int {
    switch self {
    case .zeros: TZ_PAD_ZEROS
    case .reflect: TZ_PAD_REFLECT
    case .replicate: TZ_PAD_REPLICATE
    case .circular: TZ_PAD_CIRCULAR
    }
  }
}
