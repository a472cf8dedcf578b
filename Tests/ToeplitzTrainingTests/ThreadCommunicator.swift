import Foundation
import Toeplitz

@testable import ToeplitzTensor
@testable import ToeplitzTraining

/// Processes of a run that are threads of this one.
struct ThreadCommunicator: Communicator {
  let rank: Int
  let count: Int
  private let board: Board

  /// What is on its way.
  private final class Board: @unchecked Sendable {
    private let condition = NSCondition()
    private var tensors: [[Int]: [Tensor]] = [:]
    private var texts: [Int: [[UInt8]]] = [:]
    private var isClosed = false

    /// A rank has failed: nobody waits for it.
    func close() {
      condition.lock()
      isClosed = true
      condition.broadcast()
      condition.unlock()
    }

    func change(_ body: (inout [[Int]: [Tensor]], inout [Int: [[UInt8]]]) -> Void) {
      condition.lock()
      body(&tensors, &texts)
      condition.broadcast()
      condition.unlock()
    }

    func wait<Result>(_ body: (inout [[Int]: [Tensor]], inout [Int: [[UInt8]]]) -> Result?) throws -> Result {
      condition.lock()
      defer { condition.unlock() }
      while true {
        if let found = body(&tensors, &texts) { return found }
        if isClosed { throw Left() }
        condition.wait()
      }
    }
  }

  /// What a rank gets whose partner has failed.
  struct Left: Error {}

  func exchange(_ tensor: Tensor, with partner: Int, receiving spec: TensorSpec) throws -> Tensor {
    let sent = try tensor.copied()
    board.change { tensors, _ in tensors[[rank, partner], default: []].append(sent) }
    let got = try board.wait { tensors, _ in
      tensors[[partner, rank]]?.isEmpty == false ? tensors[[partner, rank]]?.removeFirst() : nil
    }
    guard got.spec == spec else {
      throw ToeplitzError(.shape, "exchange", expected: "\(spec)", got: "\(got.spec)")
    }
    return got
  }

  func broadcast(_ bytes: [UInt8]) throws -> [UInt8] {
    if rank == 0 {
      board.change { _, texts in for other in 1..<count { texts[other, default: []].append(bytes) } }
      return bytes
    }
    return try board.wait { _, texts in texts[rank]?.isEmpty == false ? texts[rank]?.removeFirst() : nil }
  }

  /// Runs `body` on each of `count` ranks at the same time, and gives what each gave or threw.
  static func run<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (ThreadCommunicator) throws -> Result
  ) -> [Swift.Result<Result, any Error>] {
    let board = Board()
    let results = Lock<[Int: Swift.Result<Result, any Error>]>([:])
    let group = DispatchGroup()
    for rank in 0..<count {
      group.enter()
      let thread = Thread {
        let result = Swift.Result { try body(ThreadCommunicator(rank: rank, count: count, board: board)) }
        if case .failure = result { board.close() }
        results.withLock { $0[rank] = result }
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    group.wait()
    let all = results.withLock { $0 }
    return (0..<count).compactMap { all[$0] }
  }
}
