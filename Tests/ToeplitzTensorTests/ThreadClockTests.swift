import Foundation
import Testing
import ToeplitzTensor

/// The time that a thread has a processor, by which work is bounded.
@Suite struct ThreadClockTests {
  @Test func onlyWorkCounts() {
    let clock = ThreadClock()
    let (before, all) = (clock.seconds, Platform.processorSeconds)
    Thread.sleep(forTimeInterval: 0.3)
    #expect(clock.seconds - before < 0.1)
    let start = ContinuousClock.now
    var turns = 0
    while clock.seconds - before < 0.2, ContinuousClock.now - start < .seconds(60) { turns += 1 }
    #expect(turns > 0 && clock.seconds - before >= 0.2)
    #expect(Platform.processorSeconds - all >= 0.15)
  }

  @Test func eachThreadHasItsOwn() {
    let clock = ThreadClock()
    let before = clock.seconds
    let isDone = DispatchSemaphore(value: 0)
    let thread = Thread {
      let own = ThreadClock()
      let start = own.seconds
      let beginning = ContinuousClock.now
      while own.seconds - start < 0.3, ContinuousClock.now - beginning < .seconds(60) {}
      isDone.signal()
    }
    thread.start()
    isDone.wait()
    #expect(clock.seconds - before < 0.2)
  }
}
