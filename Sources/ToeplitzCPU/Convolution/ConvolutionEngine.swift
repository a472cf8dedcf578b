import CToeplitzKernels
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// A tensor `[N, C, spatial…]` seen with three spatial axes.
struct SpatialView {
  var base: UnsafeMutableRawPointer
  let batch: Int
  let channel: Int
  /// Elements between neighbours on d, h, w.
  let spatial: SIMD3<Int>
  /// Sizes of d, h, w.
  let size: SIMD3<Int>

  /// Whether whole vectors may be read where only the first elements are inside.
  let hasSlack: Bool

  /// - Parameters:
  ///   - tensor: channels first, with batch; may be any strided view.
  ///   - isFlat: whether its positions are seen as one long row; ``isContiguous(_:)`` must hold.
  init(_ tensor: Tensor, isFlat: Bool) {
    base = tensor.elements
    batch = tensor.strides[0]
    channel = tensor.strides[1]
    hasSlack = !tensor.isBorrowed
    if isFlat {
      spatial = [0, 0, 1]
      size = [1, 1, tensor.shape.dimensions[2...].reduce(1, *)]
      return
    }
    var (spatial, size): (SIMD3<Int>, SIMD3<Int>) = ([0, 0, 0], [1, 1, 1])
    for axis in 2..<tensor.rank {
      spatial[axis + 3 - tensor.rank] = tensor.strides[axis]
      size[axis + 3 - tensor.rank] = tensor.shape[axis]
    }
    (self.spatial, self.size) = (spatial, size)
  }

  /// The sizes of a tensor that is in memory only in parts, rows after one another; `base` and other distances are not to be
  /// used.
  init(size: SIMD3<Int>, base: UnsafeMutableRawPointer) {
    self.base = base
    self.size = size
    batch = 0
    channel = 0
    spatial = [0, size[2], 1]
    hasSlack = false
  }

  /// Whether the positions of a channel of `tensor` follow one another in memory.
  static func isContiguous(_ tensor: Tensor) -> Bool {
    var step = 1
    for axis in (2..<tensor.rank).reversed() {
      guard tensor.strides[axis] == step || tensor.shape[axis] == 1 else { return false }
      step *= tensor.shape[axis]
    }
    return true
  }

  /// Whether `count` channels, read a few neighbours of each at a time, fit the first-level cache: channels that lie
  /// apart by a large power of two share few of its sets.
  func channelsFitCache(_ count: Int, elementSize: Int) -> Bool {
    let (sets, ways, line) = (64, 8, 64)
    let distance = channel * elementSize
    guard distance % line == 0 else { return true }
    let lines = distance / line
    var shared = 1
    while shared < sets, lines % (2 * shared) == 0 { shared *= 2 }
    return 2 * count <= min(sets, 2 * sets / shared) * ways
  }
}

/// Computes convolutions and transposed convolutions, one tile after another, on all threads.
///
/// Every output element is one chain of multiply-adds, channels outside and taps inside, started from the bias:
/// how the work is cut does not change a bit of the result.
///
/// An object, because copies of its references would take as long as a small convolution.
final class ConvolutionEngine {
  let packed: PackedWeights
  let table: UnsafePointer<tz_conv_table>
  private(set) var input: SpatialView
  private(set) var output: SpatialView
  private(set) var residuals: (UnsafeRawPointer?, UnsafeRawPointer?) = (nil, nil)
  let epilogue: Epilogue
  let mode: PaddingMode
  let batch: Int
  /// Bytes of an element of panels, sums and weights.
  let elementSize: Int
  /// Bytes of an element of input, output and residuals.
  let storedSize: Int
  let ending: KernelEpilogue

  init(
    packed: PackedWeights, table: UnsafePointer<tz_conv_table>, input: SpatialView, output: SpatialView,
    epilogue: Epilogue, mode: PaddingMode, batch: Int, storedSize: Int
  ) {
    self.packed = packed
    self.table = table
    self.input = input
    self.output = output
    self.epilogue = epilogue
    self.mode = mode
    self.batch = batch
    self.storedSize = storedSize
    elementSize = packed.elementSize
    ending = KernelEpilogue(epilogue)
  }

  /// Goes on with other tensors, which lie like those that it was made for; the caller keeps them alive.
  ///
  /// - Parameter residuals: at most two, with the output's strides.
  func bind(input: Tensor? = nil, output: Tensor? = nil, residuals: [Tensor] = []) {
    if let input { self.input.base = input.elements }
    if let output { self.output.base = output.elements }
    self.residuals = residuals.addresses
  }

  /// Computes into `output`, which nobody else has seen yet.
  ///
  /// All tensors have batch and channels first (by strides if not in memory), the geometry's legal sizes and one type, that
  /// of the weights before they were packed or the one they are computed in.
  ///
  /// - Parameters:
  ///   - runs: where it is kept how that is done, if the weight will be used again.
  ///   - residuals: at most two tensors of the output's shape that are added to the sums.
  static func run(
    _ geometry: ConvolutionGeometry, packed: PackedWeights, runs: IdleObjects<ConvolutionRun>? = nil, input: Tensor,
    output: Tensor, epilogue: Epilogue, residuals: [Tensor] = []
  ) throws {
    guard output.count > 0 else { return }
    if packed.hasNonFinite, TapwiseTranspose.mayReadOutside(geometry) {
      let tapwise = TapwiseTranspose(geometry: geometry, weight: try packed.weight, bias: packed.bias)
      return try tapwise.run(input: input, output: output, epilogue: epilogue, residuals: residuals)
    }
    let form = try ConvolutionRun.Form(input, output, epilogue, mode: geometry.paddingMode, name: geometry.name)
    let run =
      runs?.take { $0.form == form }
      ?? ConvolutionRun(form, packed, input: input, output: output, epilogue: epilogue, name: geometry.name)
    try run(input: input, output: output, residuals: residuals)
    runs?.give(run)
  }

  /// Whether kernels can read the input and write the output themselves; what is stored in half precision goes through
  /// the pack and the store.
  var isComputedAsStored: Bool { storedSize == elementSize }

  /// What a thread is given of shared work.
  struct Work {
    var units: Range<Int>
    /// The unit that it will go on with, if threads take turns.
    var next: Int?
    /// Memory of its own.
    var memory: UnsafeMutableRawPointer
  }

  /// How units of work are handed out.
  private struct Shares {
    let units: Int
    let items: Int
    let threads: Int
    /// Scratch memory of a thread.
    let bytes: Int

    private static let smallestScratch = 1 << 20

    init(_ units: Int, work: Double, threads most: Int, scratchBytes: Int) {
      // Small units are handed out several at a time; work of a few microseconds stays on this thread.
      let amount = Int(min(work, 1e15))
      self.units = units
      items = work < 100_000 ? 1 : min(units, max(8 * most, min(16 * most, amount / 2_000_000), amount / 20_000_000))
      threads = items == 1 ? 1 : most
      // Few different sizes, so that a new length finds the block of another.
      var bytes = Self.smallestScratch
      while bytes < scratchBytes + scratchHead { bytes *= 2 }
      self.bytes = bytes
    }

    var byteCount: Int { threads * bytes }

    /// Notes that no thread's memory holds anything.
    func begin(_ memory: UnsafeMutableRawPointer) {
      for thread in 0..<threads { _ = exchangeHeld(memory + thread * bytes + scratchHead, -1) }
    }

    func work(_ item: Int, thread: Int, _ memory: UnsafeMutableRawPointer) -> Work {
      let next = ThreadPool.itemAfter(item, of: items, thread: thread, threads: threads)
      return Work(
        units: (item * units / items)..<((item + 1) * units / items), next: next.map { $0 * units / items },
        memory: memory + thread * bytes + scratchHead)
    }
  }

  /// Shares units of work, together `work` multiply-adds, among the threads; each has scratch memory.
  static func share(
    _ units: Int, work: Double, threads most: Int, scratchBytes: Int, name: String,
    _ body: @escaping (Work) -> Void
  ) throws {
    let shares = Shares(units, work: work, threads: most, scratchBytes: scratchBytes)
    let scratch = try Storage(byteCount: shares.byteCount, for: .scratch, operation: name)
    shares.begin(scratch.base)
    ThreadPool.shared.run(shares.items, threads: shares.threads) { item, thread in
      body(shares.work(item, thread: thread, scratch.base))
    }
  }

  /// What shares units of work whenever it is called, in the scratch memory of a program.
  static func sharing(
    _ units: Int, work: Double, threads most: Int, scratchBytes: Int, name: String, memory: ProgramMemory,
    _ body: @escaping (Work) -> Void
  ) throws -> () -> Void {
    let shares = Shares(units, work: work, threads: most, scratchBytes: scratchBytes)
    try memory.reserveScratch(shares.byteCount, operation: name)
    // Made once: a closure that is made in each call would be allocated in each.
    let compute: (Int, Int) -> Void = { item, thread in
      guard let scratch = memory.scratchBase else { return }
      body(shares.work(item, thread: thread, scratch))
    }
    return {
      if let scratch = memory.scratchBase { shares.begin(scratch) }
      ThreadPool.shared.run(shares.items, threads: shares.threads, compute)
    }
  }

  /// Bytes before the memory that units get.
  private static let scratchHead = 64

  /// Notes what a thread's scratch memory holds from now on, nothing at first.
  ///
  /// - Returns: whether it has held that.
  static func exchangeHeld(_ memory: UnsafeMutableRawPointer, _ number: Int) -> Bool {
    let held = (memory - scratchHead).assumingMemoryBound(to: Int.self)
    defer { held.pointee = number }
    return held.pointee == number
  }
}

extension Tensor {
  /// Whether elements lie as far apart as those of `other`, which has this shape.
  func liesLike(_ other: Tensor) -> Bool {
    zip(shape.dimensions, zip(strides, other.strides)).allSatisfy { $0 == 1 || $1.0 == $1.1 }
  }

  /// The same values in memory with the strides of `other`, an output of this shape, which has elements and memory of its own.
  fileprivate func laidOut(like other: Tensor) throws -> Tensor {
    if liesLike(other) { return self }
    let memory = try Tensor(uninitialized: [shape.span(other.strides)], dtype: dtype, operation: "layout")
    let result = memory.view(shape: shape, strides: other.strides, offset: 0)
    result.fillOnce(from: self)
    return result
  }
}

extension [Tensor] {
  /// Residuals with the strides of the output that they are added to, since one set of offsets serves all.
  func laidOut(like output: Tensor) throws -> [Tensor] { try map { try $0.laidOut(like: output) } }

  /// Where the elements of residuals lie, of which there are at most two.
  var addresses: (UnsafeRawPointer?, UnsafeRawPointer?) {
    func address(_ index: Int) -> UnsafeRawPointer? { index < count ? UnsafeRawPointer(self[index].elements) : nil }
    return (address(0), address(1))
  }
}
