import CToeplitzKernels
import ToeplitzOps
import ToeplitzTensor

/// An int8 weight in the order of the kernels, held by the weight's storage.
final class PackedInt8: PreparedValue {
  private struct Key: Hashable, Sendable {
    var view: TensorView
    var geometry: ConvolutionGeometry
    var hasWords: Bool
  }
  /// How the bytes of a window are read: in rows of taps, taps, or taps of one channel each.
  enum Form: Sendable {
    case rows, taps, depthwise
  }

  let form: Form
  let storage: Storage
  /// Steps, and quads of bytes in each.
  let steps: Int
  let quads: Int
  /// Bytes of a panel of 32 output channels, or elements of a pair of taps.
  let panel: Int
  /// Panels of one group.
  let panels: Int
  /// The sum of each output channel's weights.
  let sums: [Int32]
  /// Output channels of a group, as far as whole panels go.
  let padded: Int

  var byteCount: Int { storage.byteCount }

  static func packed(_ geometry: ConvolutionGeometry, _ weight: Tensor, hasWords: Bool) throws -> PackedInt8 {
    try weight.storage.prepared(Key(view: TensorView(weight), geometry: geometry, hasWords: hasWords)) {
      try PackedInt8(geometry, weight, hasWords)
    }
  }

  private init(_ g: ConvolutionGeometry, _ weight: Tensor, _ hasWords: Bool) throws {
    let inputs = g.inChannels / g.groups
    let outputs = g.outChannels / g.groups
    let (height, width) = g.rank == 2 ? (g.kernelSize[0], g.kernelSize[1]) : (1, g.kernelSize[0])
    let taps = height * width
    let dense = try weight.dense()
    let from = dense.pointer(Int8.self)
    sums = (0..<g.outChannels).map { channel in
      (0..<(inputs * taps)).reduce(Int32(0)) { $0 + Int32(from[channel * inputs * taps + $1]) }
    }
    if g.groups == g.inChannels, outputs == 1 {
      form = .depthwise
      (steps, quads, panels) = (taps, 0, 1)
      padded = (g.outChannels + 63) / 64 * 64
      guard hasWords else {
        // See tz_int8_convolution for the order.
        let quads = (taps + 3) / 4
        panel = quads * 256
        storage = try Storage(byteCount: padded / 64 * panel, operation: "pack")
        let to = storage.base.assumingMemoryBound(to: Int8.self)
        to.update(repeating: 0, count: padded / 64 * panel)
        for channel in 0..<g.outChannels {
          let (lane, vector, place) = (channel % 64 / 16, channel % 16 / 4, channel % 4)
          let first = channel / 64 * panel + vector * 64 + lane * 16 + place * 4
          for tap in 0..<taps { to[first + tap / 4 * 256 + tap % 4] = from[channel * taps + tap] }
        }
        return
      }
      panel = padded * 2
      storage = try Storage(byteCount: (taps + 1) / 2 * panel * 2, operation: "pack")
      let to = storage.base.assumingMemoryBound(to: Int16.self)
      to.update(repeating: 0, count: (taps + 1) / 2 * panel)
      for tap in 0..<taps {
        for channel in 0..<g.outChannels {
          to[tap / 2 * panel + channel * 2 + tap % 2] = Int16(from[channel * taps + tap])
        }
      }
      return
    }
    // Neighbouring taps of a row follow one another where nothing lies between their channels.
    let joinsRow = g.groups == 1 && g.dilation[g.rank - 1] == 1
    form = joinsRow ? .rows : .taps
    let bytes = joinsRow ? width * inputs : inputs
    (steps, quads) = (joinsRow ? height : taps, (bytes + 3) / 4)
    panels = (outputs + 31) / 32
    padded = panels * 32
    let quadBytes = hasWords ? 256 : 128
    panel = steps * quads * quadBytes
    storage = try Storage(byteCount: max(1, g.groups * panels * panel), operation: "pack")
    storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: storage.byteCount)
    for group in 0..<g.groups {
      for output in 0..<outputs {
        let filter = from + (group * outputs + output) * inputs * taps
        let start = storage.base + (group * panels + output / 32) * panel
        for step in 0..<steps {
          for at in 0..<bytes {
            let (tap, channel) = joinsRow ? (step * width + at / inputs, at % inputs) : (step, at)
            let value = filter[channel * taps + tap]
            let quad = start + (step * quads + at / 4) * quadBytes
            if hasWords {
              (quad + at % 4 / 2 * 128 + output % 32 * 4 + at % 2 * 2).assumingMemoryBound(to: Int16.self).pointee =
                Int16(value)
            } else {
              (quad + output % 32 * 4 + at % 4).assumingMemoryBound(to: Int8.self).pointee = value
            }
          }
        }
      }
    }
    withExtendedLifetime(dense) {}
  }
}
