import Testing
import ToeplitzOps

@Suite struct NumericsTests {
  @Test func `a value holds inside its block and in tasks begun there`() async {
    let outside = Numerics.current
    for mode in Numerics.allCases {
      #expect(Numerics.$current.withValue(mode) { Numerics.current } == mode)
      let inTask = await Numerics.$current.withValue(mode) {
        async let found = Numerics.current
        return await found
      }
      #expect(inTask == mode)
    }
    #expect(Numerics.current == outside)
  }

  @Test func `names are those of the environment variable`() {
    #expect(Numerics(rawValue: "fast") == .fast)
    #expect(Numerics(rawValue: "invariant") == .invariant)
    #expect(Numerics(rawValue: "quick") == nil)
  }
}
