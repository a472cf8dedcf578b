import Synchronization
import ToeplitzGraph
import ToeplitzOps
import ToeplitzTensor

/// Bound forms of a program for calls with tensors that lie anywhere: inputs are copied to where the bound program wants them, and
/// outputs from there.
///
/// Small networks take longer to pass tensors from step to step than to copy a few.
final class CallsInPlace: Sendable {
  /// Programs whose results need more memory win less time than they hold memory.
  static let mostBytes = 1 << 22
  /// At most this many bytes are held by all of a process.
  private static let mostBytesOfAll = min(1 << 26, Platform.physicalMemory / 64)
  private static let bytesOfAll = Atomic(0)
  /// As many calls as may be under way at one time; others pass tensors.
  private static let mostForms = 2
  /// Calls before the first form is made: many programs are run once.
  private static let callsBefore = 2
  /// Bytes that are copied in the time that a step takes to be handed its tensors.
  private static let bytesPerStep = 1 << 14

  /// A bound program with its inputs.
  private final class Form {
    let program: BoundCPUProgram
    let inputs: [Tensor]
    private let memory: ProgramMemory
    private let byteCount: Int

    init(_ program: CPUProgram, _ given: [Tensor]) throws {
      inputs = try given.map { try $0.copied() }
      memory = ProgramMemory()
      self.program = try program.boundInPlace(inputs, memory)
      byteCount = memory.byteCount
      bytesOfAll.wrappingAdd(byteCount, ordering: .relaxed)
    }

    deinit { bytesOfAll.wrappingSubtract(byteCount, ordering: .relaxed) }

    /// Whether it is likely to save time.
    var isWorthwhile: Bool {
      let moved = (inputs + program.outputs).reduce(program.copiedByteCount) { $0 + $1.count * $1.dtype.byteSize }
      return moved < program.stepsInPlace * bytesPerStep
    }

    func run(_ given: [Tensor]) throws -> [Tensor] {
      for (input, tensor) in zip(inputs, given) { input.fillOnceTogether(from: tensor) }
      try program.run()
      return try program.outputs.map { try $0.copied() }
    }
  }

  private let idle = IdleObjects<Form>(limit: mostForms)
  private struct State {
    var calls = 0
    var forms = 0
    var isWorthwhile = true
  }
  private let state = Lock(State())

  /// The outputs, or nil where the program has no bound form at hand.
  func run(_ program: CPUProgram, _ given: [Tensor]) throws -> [Tensor]? {
    if let form = idle.take({ _ in true }) {
      if form.program.isCurrent { return try results(form, given) }
      state.withLock { $0.forms -= 1 }
    }
    let makes = state.withLock { state in
      state.calls += 1
      guard state.isWorthwhile, state.calls > Self.callsBefore, state.forms < Self.mostForms else { return false }
      state.forms += 1
      return true
    }
    guard makes else { return nil }
    guard Self.bytesOfAll.load(ordering: .relaxed) < Self.mostBytesOfAll,
      let form = try? Form(program, given), form.isWorthwhile
    else {
      state.withLock { state in
        state.forms -= 1
        state.isWorthwhile = false
      }
      return nil
    }
    return try results(form, given)
  }

  private func results(_ form: Form, _ given: [Tensor]) throws -> [Tensor] {
    do {
      let results = try form.run(given)
      idle.give(form)
      return results
    } catch {
      state.withLock { $0.forms -= 1 }
      throw error
    }
  }
}
