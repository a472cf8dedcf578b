import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

extension Cast: BlockOperation {
  func blockFunction(_ types: [DType]) -> BlockFunction? {
    switch (types[0], dtype) {
    case (.float16, .float32), (.bfloat16, .float32), (.bool, .float32), (.bool, .float16), (.bool, .bfloat16),
      (.int8, .float32), (.uint8, .float32), (.int32, .float32), (.int64, .float32):
      return BlockFunction(step: nil, type: dtype)
    case (.float32, .float16), (.float32, .bfloat16):
      // Rounding is what every step to half precision ends with.
      return BlockFunction(step: BlockFunction.unary(TZ_LEAKY_RELU, 1, 0), type: dtype)
    case (.float32, .bool), (.float16, .bool), (.bfloat16, .bool):
      return BlockFunction(step: BlockFunction.unary(TZ_TRUTH_OF, 0, 0), type: dtype)
    default: return nil
    }
  }
}

extension Cast: CPUKernel {
  package var flushesSubnormals: Bool { false }

  package func evaluate(_ inputs: [Tensor], _ outputs: [TensorSpec]) throws -> [Tensor] {
    guard inputs[0].dtype != dtype else { return [inputs[0]] }
    let x = try inputs[0].dense().aligned()
    let y = try Tensor(uninitialized: x.shape, dtype: dtype, operation: name)
    if !fast(x, y) { convert(x, y, from: x.dtype.scalarType) }
    return [y]
  }

  /// The conversions between float32 and half precision have kernels (without them they take 50 times as
  /// long), and loops compiled for the other usual pairs.
  private func fast(_ x: Tensor, _ y: Tensor) -> Bool {
    let kernels = tz_elementwise_kernels(InstructionSet.current.code).pointee
    switch (x.dtype, y.dtype) {
    case (.float16, .float32): together(x, y) { kernels.f16_to_f32($0, $1, $2) }
    case (.float32, .float16): together(x, y) { kernels.f32_to_f16($0, $1, $2) }
    case (.float32, .float64): map(x, y) { (value: Float) in Double(value) }
    case (.float64, .float32): map(x, y) { (value: Double) in Float(value) }
    case (.bfloat16, .float32): together(x, y) { kernels.bf16_to_f32($0, $1, $2) }
    case (.float32, .bfloat16): together(x, y) { kernels.f32_to_bf16($0, $1, $2) }
    case (.bool, .float32), (.uint8, .float32): together(x, y) { kernels.u8_to_f32($0, $1, $2) }
    case (.int8, .float32): together(x, y) { kernels.i8_to_f32($0, $1, $2) }
    case (.uint8, .int32): widen(x, y, UInt8.self)
    case (.int8, .int32): widen(x, y, Int8.self)
    // Straight to float32: by way of float64 some numbers would be rounded twice.
    case (.int64, .float32): together(x, y) { kernels.i64_to_f32($0, $1, $2) }
    case (.int32, .float32): together(x, y) { kernels.i32_to_f32($0, $1, $2) }
    default: return false
    }
    withExtendedLifetime((x, y)) {}
    return true
  }

  /// Bytes as int32.
  private func widen<From: FixedWidthInteger & Sendable>(_ x: Tensor, _ y: Tensor, _ type: From.Type) {
    let (source, target) = (x.pointer(From.self), y.pointer(Int32.self))
    ThreadPool.shared.runRows(x.count, width: 1) { range in
      for index in range { target[index] = Int32(truncatingIfNeeded: source[index]) }
    }
  }

  /// Calls a kernel on all threads.
  private func together<From, To>(
    _ x: Tensor, _ y: Tensor, _ kernel: @escaping (UnsafePointer<From>, UnsafeMutablePointer<To>, Int) -> Void
  ) {
    let (source, target) = (x.pointer(From.self), y.pointer(To.self))
    ThreadPool.shared.runRows(x.count, width: 1) { range in
      kernel(source + range.lowerBound, target + range.lowerBound, range.count)
    }
  }

  @inline(__always)
  private func map<From, To>(_ x: Tensor, _ y: Tensor, _ f: (From) -> To) {
    let source = x.pointer(From.self)
    let target = y.pointer(To.self)
    for index in 0..<x.count { target[index] = f(source[index]) }
  }

  private func convert<From: TensorScalar>(_ x: Tensor, _ y: Tensor, from: From.Type) {
    func to<To: TensorScalar>(_ type: To.Type) {
      let source = x.pointer(From.self)
      let target = y.pointer(To.self)
      for index in 0..<x.count { target[index] = To(converting: source[index].doubleValue) }
    }
    func toInteger<To: TensorScalar & FixedWidthInteger, Source: FixedWidthInteger>(
      _ type: To.Type, _ source: Source.Type
    ) {
      let source = x.pointer(Source.self)
      let target = y.pointer(To.self)
      for index in 0..<x.count { target[index] = To(truncatingIfNeeded: source[index]) }
    }
    // Between integers bits are cut off or the sign is extended, as in C and PyTorch.
    func integers<Source: FixedWidthInteger>(_ source: Source.Type) {
      switch y.dtype {
      case .int8: toInteger(Int8.self, source)
      case .uint8: toInteger(UInt8.self, source)
      case .int16: toInteger(Int16.self, source)
      case .uint16: toInteger(UInt16.self, source)
      case .uint32: toInteger(UInt32.self, source)
      case .uint64: toInteger(UInt64.self, source)
      case .int32: toInteger(Int32.self, source)
      default: toInteger(Int64.self, source)
      }
    }
    guard y.dtype.isInteger else { return to(y.dtype.scalarType) }
    switch x.dtype {
    case .int8: integers(Int8.self)
    case .uint8: integers(UInt8.self)
    case .int16: integers(Int16.self)
    case .uint16: integers(UInt16.self)
    case .uint32: integers(UInt32.self)
    case .uint64: integers(UInt64.self)
    case .int32: integers(Int32.self)
    case .int64: integers(Int64.self)
    default: to(y.dtype.scalarType)
    }
  }
}
