/// How a convolution keeps its prepared weights.
///
/// A layer with many weights and few positions, such as a step of a streaming decoder, does nothing but read weights from
/// memory: half the bytes take half the time. Results are those of a float32 convolution whose weights have been rounded
/// once, to the bit and whatever kernel computes them, so batch size, threads and chunking still change nothing.
public enum WeightStorage: String, Sendable, Hashable, CaseIterable {
  /// As they are.
  case full
  /// In 16 bits: 8 of the significand's 24, the whole range. Relative errors of weights are at most 2⁻⁹.
  case bfloat16
  /// In 8 bits, as multiples of a scale for each output channel, its largest magnitude over 127. Errors of weights are at
  /// most half the scale. Layers whose weights are not all finite keep them as they are.
  case int8

  /// Bytes of a weight of a type of so many.
  package func byteSize(of elementSize: Int) -> Int {
    switch self {
    case .full: elementSize
    case .bfloat16: 2
    case .int8: 1
    }
  }
}
