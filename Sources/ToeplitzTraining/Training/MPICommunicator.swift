#if MPI
  import CToeplitzMPI
  import ToeplitzTensor

  /// The processes that `mpirun` has started, on one machine or several.
  ///
  /// One for each process, from its beginning to its end.
  public final class MPICommunicator: Communicator {
    /// The number of this process, from 0.
    public let rank: Int
    /// How many processes there are.
    public let count: Int
    /// How many of them are on this machine.
    public let localCount: Int

    /// Finds the other processes; a process that `mpirun` has not started is alone.
    ///
    /// - Throws: ``ToeplitzError`` of kind `unsupported` if MPI cannot be used, with its reason.
    public init() throws {
      var (rank, count, local): (Int32, Int32, Int32) = (0, 1, 1)
      try Self.check(tz_mpi_start(&rank, &count, &local), "begin")
      (self.rank, self.count, localCount) = (Int(rank), Int(count), Int(local))
    }

    /// Gives a tensor to another process, and gets one of it.
    public func exchange(_ tensor: Tensor, with partner: Int, receiving spec: TensorSpec) throws -> Tensor {
      let given = try tensor.contiguous()
      let received = try Tensor(uninitialized: spec.shape, dtype: spec.dtype, operation: "exchange")
      try withExtendedLifetime((given, received)) {
        let code = tz_mpi_exchange(
          given.elements, given.count * given.dtype.byteSize, received.elements, received.count * spec.dtype.byteSize,
          Int32(partner))
        try Self.check(code, "exchange with process \(partner)")
      }
      return received
    }

    /// The bytes of process 0, which the others get.
    public func broadcast(_ bytes: [UInt8]) throws -> [UInt8] {
      var length = Int64(bytes.count)
      try Self.check(tz_mpi_broadcast(&length, MemoryLayout<Int64>.size), "broadcast")
      var bytes = rank == 0 ? bytes : [UInt8](repeating: 0, count: Int(length))
      try bytes.withUnsafeMutableBytes { try Self.check(tz_mpi_broadcast($0.baseAddress, $0.count), "broadcast") }
      return bytes
    }

    /// Ends, when all processes have called this; afterwards nothing more is exchanged.
    ///
    /// - Throws: ``ToeplitzError`` if MPI refuses.
    public func finish() throws { try Self.check(tz_mpi_finish(), "end") }

    /// Ends all processes at once, after a failure of this one.
    public func abort() { tz_mpi_abort(1) }

    private static func check(_ code: Int32, _ what: String) throws {
      guard code != 0 else { return }
      var text = [CChar](repeating: 0, count: 512)
      tz_mpi_explain(code, &text, text.count)
      let message = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw ToeplitzError(.unsupported, "MPI", expected: "to \(what)", got: message)
    }
  }
#endif
