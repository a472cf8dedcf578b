import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// Rows of bytes, less a zero point, times a constant int8 matrix: exact int32 sums, as ONNX's MatMulInteger gives them.
///
/// Operands are x `[…, K]`, uint8 or int8, its zero point (one int32), and the weight `[N, K]`.
struct IntegerProduct: TensorOperation, CPUKernel {
  var geometry: ConvolutionGeometry
  var name: String { "IntegerProduct" }

  func infer(_ inputs: [TensorSpec]) throws -> [TensorSpec] {
    try require(inputs, count: 3)
    try require(
      inputs[0].shape.last == geometry.inChannels, expected: "rows of \(geometry.inChannels)",
      got: "shape \(inputs[0].shape)")
    return [TensorSpec(Shape(inputs[0].shape.dropLast() + [geometry.outChannels]), .int32)]
  }

  func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    let result = try Tensor(uninitialized: outputs[0].shape, dtype: .int32, operation: name)
    guard result.count > 0 else { return [result] }
    let table = tz_int8_kernels(InstructionSet.current.code).pointee
    let packed = try PackedInt8.packed(geometry, inputs[2], hasWords: table.has_words)
    let isSigned = inputs[0].dtype == .int8
    let rows = inputs[0].count / geometry.inChannels
    // Unsigned bytes with room to read beyond the last.
    var x = try inputs[0].dense()
    if isSigned || x.isBorrowed {
      let copy = try Tensor(uninitialized: [x.count], dtype: .uint8, operation: name)
      tz_bytes_interleave(
        x.elements.assumingMemoryBound(to: UInt8.self), 1, 1, 1, x.count, isSigned ? 0x80 : 0, copy.pointer(UInt8.self))
      x = copy
    }
    let zero = try inputs[1].reshaped([]).item(Int32.self) &+ (isSigned ? 128 : 0)
    let bias = (0..<packed.padded).map { $0 < packed.sums.count ? 0 &- zero &* packed.sums[$0] : 0 }
    let (offsets, scale) = ([Int32(0)], [Float](repeating: 0, count: packed.padded))
    var t = tz_int8_convolution()
    t.x = UnsafePointer(x.elements.assumingMemoryBound(to: UInt8.self))
    (t.x_row, t.x_pixel, t.width) = (0, geometry.inChannels, rows)
    (t.steps, t.quads, t.panel) = (1, Int32(packed.quads), packed.panel)
    t.w = UnsafeRawPointer(packed.storage.base)
    (t.y_row, t.y_pixel, t.channels) = (0, geometry.outChannels, geometry.outChannels)
    // Offsets count from here; nothing is stored as bytes.
    (t.sums, t.y) = (result.pointer(Int32.self), result.elements.assumingMemoryBound(to: UInt8.self))
    let pool = ThreadPool.shared
    let work = rows * packed.padded * packed.quads
    let items = work < 1 << 14 ? 1 : min(packed.panels, 8 * pool.threadCount)
    offsets.withUnsafeBufferPointer { offsets in
      bias.withUnsafeBufferPointer { bias in
        scale.withUnsafeBufferPointer { scale in
          (t.offsets, t.bias, t.scale) = (offsets.baseAddress, bias.baseAddress, scale.baseAddress)
          let template = t
          pool.run(items) { item, _ in
            var t = template
            let (first, end) = (packed.panels * item / items, packed.panels * (item + 1) / items)
            table.rows(&t, 0, 1, first, end - first)
          }
        }
      }
    }
    withExtendedLifetime((x, result)) {}
    return [result]
  }

  var gradient: GradientRule { .none(because: "it is made by compilation, after differentiation") }
  func time(_ call: TimeCall) -> TimeRule { .whole(because: "it is made by compilation, after planning") }
}

extension IntegerProduct: CountedOperation {
  func multiplyAdds(_ inputs: [TensorSpec]) throws -> Int {
    inputs[0].shape.reduce(1, *) * geometry.outChannels
  }
}
