import Foundation
import ToeplitzCPU
import ToeplitzNN
import ToeplitzOps
import ToeplitzTensor

/// The processes that share a run of training, each of which has a number, its rank.
///
/// All make the same calls in the same order. ``SingleProcess`` is a run of one; with the package trait `MPI` there is one that
/// speaks MPI.
public protocol Communicator: Sendable {
  /// The number of this process, from 0.
  var rank: Int { get }
  /// How many processes there are.
  var count: Int { get }

  /// Gives a tensor to another process, and gets one of it.
  ///
  /// - Parameters:
  ///   - partner: the other one's rank; it calls this with the rank of this process.
  ///   - spec: what the other one gives.
  /// - Throws: ``ToeplitzError`` if the other one gives something else or cannot be reached.
  func exchange(_ tensor: Tensor, with partner: Int, receiving spec: TensorSpec) throws -> Tensor

  /// The bytes of process 0, which the others get.
  ///
  /// - Parameter bytes: those that process 0 gives; others' are ignored.
  func broadcast(_ bytes: [UInt8]) throws -> [UInt8]
}

/// One process, which shares with nobody.
public struct SingleProcess: Communicator {
  /// The only process.
  public init() {}
  /// 0.
  public var rank: Int { 0 }
  /// 1.
  public var count: Int { 1 }

  /// Refuses: there is no other process.
  public func exchange(_ tensor: Tensor, with partner: Int, receiving spec: TensorSpec) throws -> Tensor {
    throw ToeplitzError(.argument, "exchange", expected: "another process", got: "rank \(partner) of 1")
  }

  /// The bytes as they are.
  public func broadcast(_ bytes: [UInt8]) -> [UInt8] { bytes }
}

/// Counts the bytes that this process gives to others one by one; broadcasts are few.
final class CountedCommunicator: Communicator {
  private let inner: any Communicator
  private let sent = Lock(0)

  init(_ inner: any Communicator) { self.inner = inner }

  var rank: Int { inner.rank }
  var count: Int { inner.count }
  var sentByteCount: Int { sent.withLock { $0 } }

  func exchange(_ tensor: Tensor, with partner: Int, receiving spec: TensorSpec) throws -> Tensor {
    sent.withLock { $0 += tensor.count * tensor.dtype.byteSize }
    return try inner.exchange(tensor, with: partner, receiving: spec)
  }

  func broadcast(_ bytes: [UInt8]) throws -> [UInt8] { try inner.broadcast(bytes) }
}

extension Communicator {
  /// The sum of the tensors of all ranks, a vector each, in the tree ((0 + 1) + (2 + 3)) + ….
  ///
  /// Each rank adds up a part of the elements and gets the others' (recursive halving and doubling; Thakur et al., *Optimization of
  /// Collective Communication Operations in MPICH*, 2005), so it sends less than twice the vector, and the tree of each element is the
  /// same for any number of ranks that is a power of two.
  func treeSum(_ vector: Tensor) throws -> Tensor {
    var mine = vector
    var rounds: [(partner: Int, isLower: Bool, others: Int)] = []
    var distance = 1
    while distance < count {
      let partner = rank ^ distance
      let half = mine.count / 2
      let isLower = rank & distance == 0
      let (lower, upper) = (try mine.slice(axis: 0, 0..<half), try mine.slice(axis: 0, half..<mine.count))
      let (kept, given) = isLower ? (lower, upper) : (upper, lower)
      let received = try exchange(given, with: partner, receiving: kept.spec)
      mine = isLower ? try kept + received : try received + kept
      rounds.append((partner, isLower, given.count))
      distance *= 2
    }
    for round in rounds.reversed() {
      let received = try exchange(
        mine, with: round.partner, receiving: TensorSpec([round.others], vector.dtype))
      mine = try Tensor.concatenate(round.isLower ? [mine, received] : [received, mine])
    }
    return mine
  }

  /// Whether the condition holds on any rank.
  func any(_ condition: Bool) throws -> Bool {
    guard count > 1 else { return condition }
    return try treeSum(Tensor([condition ? 1 : 0 as Int64])).item(Int64.self) > 0
  }
}

extension Communicator {
  /// What `body` gives in the first process, which alone runs it.
  func first<Result: Codable>(_ body: () throws -> Result) throws -> Result {
    guard count > 1 else { return try body() }
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    let bytes = try broadcast(rank == 0 ? Array(encoder.encode(body())) : [])
    return try decoder.decode(Result.self, from: Data(bytes))
  }

  /// Refuses processes that would compute different bits, or wait for each other forever.
  ///
  /// - Throws: ``ToeplitzError`` of kind `argument` that names what differs from the first process.
  func requireSame(_ settings: [String: String], _ model: Module) throws {
    guard count > 1 else { return }
    var own = settings
    own["instruction set (TOEPLITZ_ISA sets a common one)"] = InstructionSet.current.rawValue
    for (name, parameter) in model.namedParameters() + model.namedBuffers() {
      own["'\(name)'"] = "\(parameter.value.spec)"
    }
    let wanted = try first { own }
    for name in Set(own.keys).union(wanted.keys).sorted() where own[name] != wanted[name] {
      throw ToeplitzError(
        .argument, "Trainer", expected: "the first process's \(name) \(wanted[name] ?? "(none)")",
        got: own[name] ?? "(none)")
    }
  }
}

/// Sums tensors over all ranks while others are still computed.
///
/// Tensors of one element type that follow each other are joined to buckets, and a bucket that is full is exchanged by another thread.
final class TreeReduction {
  /// Large enough that its bytes and not its messages take the time, small enough that some are on their way while the rest is computed.
  static let bucketSize = 4 << 20

  private let communicator: any Communicator
  private let queue = DispatchQueue(label: "toeplitz.exchange")
  private let group = DispatchGroup()
  private var bucket: [(index: Int, tensor: Tensor)] = []
  private var bytes = 0
  private var count = 0
  private let results = Lock<Result<[Int: Tensor], any Error>>(.success([:]))

  init(_ communicator: any Communicator) { self.communicator = communicator }

  deinit { group.wait() }

  /// Adds a tensor; all ranks add such tensors in the same order.
  func add(_ tensor: Tensor) throws {
    let tensor = try tensor.contiguous()
    if let last = bucket.last, last.tensor.dtype != tensor.dtype { flush() }
    bucket.append((count, tensor))
    count += 1
    bytes += tensor.count * tensor.dtype.byteSize
    if bytes >= Self.bucketSize { flush() }
  }

  /// The sums, in the order in which the tensors were added.
  func sums() throws -> [Tensor] {
    flush()
    group.wait()
    let found = try results.withLock { try $0.get() }
    return (0..<count).compactMap { found[$0] }
  }

  private func flush() {
    guard !bucket.isEmpty else { return }
    let full = bucket
    (bucket, bytes) = ([], 0)
    guard communicator.count > 1 else {
      results.withLock { $0 = $0.map { $0.merging(full.map { ($0.index, $0.tensor) }) { $1 } } }
      return
    }
    queue.async(group: group) { [communicator, results] in
      // After a failure the others are not waited for.
      guard case .success = results.withLock({ $0 }) else { return }
      // The workers are for the computation that goes on meanwhile.
      let made = ThreadPool.$staysOnCaller.withValue(true) { Result { try Self.summed(full, communicator) } }
      results.withLock { known in
        known = known.flatMap { all in made.map { all.merging($0) { $1 } } }
      }
    }
  }

  private static func summed(
    _ bucket: [(index: Int, tensor: Tensor)], _ communicator: any Communicator
  ) throws -> [Int: Tensor] {
    let sum = try communicator.treeSum(Tensor.concatenate(bucket.map { try $0.tensor.reshaped([$0.tensor.count]) }))
    var first = 0
    var parts: [Int: Tensor] = [:]
    for (index, tensor) in bucket {
      parts[index] = try sum.slice(axis: 0, first..<(first + tensor.count)).reshaped(tensor.shape)
      first += tensor.count
    }
    return parts
  }
}
