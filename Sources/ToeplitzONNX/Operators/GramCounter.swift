import ToeplitzOps
import ToeplitzTensor

/// Counts short lists of words (grams) in rows of words; numbers stand as their decimals.
struct GramCounter: Sendable {
  private var mode: String
  private var lengths: ClosedRange<Int>
  private var mostSkipped: Int
  /// The column of each gram.
  private var columns: [[String]: Int] = [:]
  private var columnCount: Int
  /// The factor of each column's gram.
  private var weights: [Int: Double] = [:]

  init(_ node: OperatorNode) throws {
    mode = try node.string("mode", "")
    let (least, most) = (try node.int("min_gram_length", 1), try node.int("max_gram_length", 1))
    mostSkipped = try node.int("max_skip_count", 0)
    let pool = try node.strings("pool_strings") ?? node.ints("pool_int64s")?.map { String($0) } ?? []
    let starts = try node.ints("ngram_counts") ?? []
    let places = try node.ints("ngram_indexes") ?? []
    guard ["TF", "IDF", "TFIDF"].contains(mode), least > 0, least <= most, most <= 1 << 10, mostSkipped >= 0,
      mostSkipped <= 1 << 16, places.allSatisfy({ (0..<(1 << 24)).contains($0) })
    else { throw node.refuse("mode TF, IDF or TFIDF and lengths of grams from 1 on", got: "others") }
    lengths = least...most
    columnCount = (places.max() ?? -1) + 1
    let factors = try node.floats("weights") ?? []
    guard factors.isEmpty || factors.count == places.count else {
      throw node.refuse("a weight for each of \(places.count) grams", got: "\(factors.count)")
    }
    for (place, factor) in zip(places, factors) { weights[place] = factor }
    var number = 0
    for (index, start) in starts.enumerated() {
      let end = index + 1 < starts.count ? starts[index + 1] : pool.count
      guard start >= 0, start <= end, end <= pool.count, (end - start) % (index + 1) == 0 else {
        throw node.refuse("ngram_counts that cut the pool into grams", got: "\(starts)")
      }
      for at in stride(from: start, to: end, by: index + 1) {
        guard number < places.count else { throw node.refuse("an ngram_index for each gram", got: "\(places.count)") }
        if lengths.contains(index + 1) { columns[Array(pool[at..<(at + index + 1)])] = places[number] }
        number += 1
      }
    }
  }

  /// Counts for words `[C]` or `[N, C]`.
  func callAsFunction(_ words: [String], _ shape: TensorShape, _ x: Operands) throws -> Tensor {
    guard shape.rank == 1 || shape.rank == 2 else { throw x.refuse(.shape, "words [C] or [N, C]", got: "\(shape)") }
    let (rows, width) = shape.rank == 1 ? (1, shape[0]) : (shape[0], shape[1])
    let size = try TensorShape([rows, columnCount]).elementCount(x.name)
    guard size <= 1 << 25 else { throw x.refuse(.shape, "at most 2²⁵ counts", got: "\(size)") }
    var counts = [Double](repeating: 0, count: size)
    for row in 0..<rows {
      let line = Array(words[(row * width)..<((row + 1) * width)])
      for length in lengths where length <= width {
        // Single words skip nothing.
        for step in 1...(length == 1 ? 1 : mostSkipped + 1) {
          let reach = step * (length - 1)
          guard reach < width else { break }
          for start in 0..<(width - reach) {
            let gram = stride(from: start, through: start + reach, by: step).map { line[$0] }
            if let column = columns[gram] { counts[row * columnCount + column] += 1 }
          }
        }
      }
    }
    if mode != "TF" {
      for index in counts.indices {
        let factor = weights[index % columnCount] ?? 1
        counts[index] = (mode == "IDF" ? min(counts[index], 1) : counts[index]) * factor
      }
    }
    let result = try Tensor(counts, shape: nil, device: .cpu).cast(to: .float32)
    return try result.reshaped(shape.rank == 1 ? [columnCount] : [rows, columnCount])
  }
}
