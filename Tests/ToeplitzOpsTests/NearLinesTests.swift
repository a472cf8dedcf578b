import CToeplitzKernels
import Testing
import ToeplitzTensor

@testable import ToeplitzCPU
@testable import ToeplitzOps

/// What kernel calls bring near for the pack after them: the lines that it will read, each once, and no others.
@Suite struct NearLinesTests {
  @Test func aWalkVisitsTheLinesOfAPanel() {
    var random = RandomSource(seed: 92)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    var empty = 0
    for _ in 0..<2000 {
      let size = [pick(1...3), pick(1...9), pick(1...90)]
      let strides = [size[1] * size[2] + pick(0...40), size[2] + pick(0...20), 1]
      let steps = (0..<3).map { _ in pick(1...3) }
      let counts = [pick(1...3), pick(1...6), pick(1...60)]
      let firsts = (0..<3).map { pick(-3...(size[$0] / steps[$0])) }
      let phases = steps.map { step in Array(0..<step).filter { _ in Bool.random(using: &random) } }
        .map { $0.isEmpty ? [0] : $0 }
      let element = [2, 4, 8][pick(0...2)]
      let offset = element * pick(0...100)
      // An address that nobody reads.
      let base = UnsafeRawPointer(bitPattern: 0x10000 + offset)
      var request = tz_pack()
      request.x = base
      request.channels = 2
      request.x_channel = 10_000
      var near = tz_near()
      phases[0].withUnsafeBufferPointer { d in
        phases[1].withUnsafeBufferPointer { h in
          phases[2].withUnsafeBufferPointer { w in
            func axis(_ index: Int, _ phases: UnsafeBufferPointer<Int>) -> tz_pack_axis {
              tz_pack_axis(
                size: size[index], stride: strides[index], first: firsts[index], count: counts[index],
                step: steps[index], phases: phases.baseAddress, phase_count: Int32(phases.count))
            }
            request.axis = (axis(0, d), axis(1, h), axis(2, w))
            tz_near_pack(&near, &request, element)
          }
        }
      }
      // Inputs between the first that the panel holds and the last, on each axis.
      let reach = (0..<3).map { axis in
        let places = (0..<counts[axis]).flatMap { j in phases[axis].map { (firsts[axis] + j) * steps[axis] + $0 } }
        return ((places.min() ?? 0)...(places.max() ?? 0)).filter { (0..<size[axis]).contains($0) }
      }
      var expected: [Int] = []
      if let d = reach[0].min(), let h = reach[1].min(), let w = reach[2].min(), let endD = reach[0].max(),
        let endH = reach[1].max(), let endW = reach[2].max()
      {
        // Lines are counted in the first row; the others, which may begin elsewhere in a line, have as many.
        let first = 0x10000 + offset + (d * strides[0] + h * strides[1] + w) * element
        let lines = first / 64 * 64..<first + (endW - w + 1) * element
        for i in 0...(endD - d) {
          for j in 0...(endH - h) {
            let row = (i * strides[0] + j * strides[1]) * element
            expected += stride(from: lines.lowerBound, to: lines.upperBound, by: 64).map { $0 + row }
          }
        }
      } else {
        empty += 1
      }
      var visited: [Int] = []
      if near.channel != 0 { #expect(near.channel == 10_000 * element) }
      while near.channel != 0, visited.count <= expected.count {
        visited.append(Int(bitPattern: near.x))
        tz_near_next(&near)
      }
      #expect(visited == expected)
    }
    #expect(empty > 20)
  }
}
