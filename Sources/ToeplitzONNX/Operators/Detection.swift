import ToeplitzOps
import ToeplitzTensor

/// A box by its corners.
private struct Box {
  var (top, left, bottom, right) = (0.0, 0.0, 0.0, 0.0)

  /// - Parameter isCentered: whether the numbers are x and y of the middle, width and height; otherwise y and x of two
  ///   opposite corners.
  init(_ numbers: ArraySlice<Float>, isCentered: Bool) {
    let v = numbers.map(Double.init)
    if isCentered {
      (top, left, bottom, right) = (v[1] - v[3] / 2, v[0] - v[2] / 2, v[1] + v[3] / 2, v[0] + v[2] / 2)
    } else {
      (top, left, bottom, right) = (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
    }
  }

  var area: Double { (bottom - top) * (right - left) }

  /// The share of the joint area that both cover.
  func overlap(_ other: Box) -> Double {
    let height = min(bottom, other.bottom) - max(top, other.top)
    let width = min(right, other.right) - max(left, other.left)
    guard height > 0, width > 0 else { return 0 }
    return height * width / (area + other.area - height * width)
  }
}

extension OperatorTable {
  static let detection: [String: OperatorMaker] = [
    "NonMaxSuppression": { node in
      let isCentered = try node.flag("center_point_box")
      return { x in
        let (boxes, scores) = (try x(0), try x(1))
        guard boxes.rank == 3, scores.rank == 3, boxes.shape[2] == 4, boxes.shape[0] == scores.shape[0],
          boxes.shape[1] == scores.shape[2]
        else {
          throw x.refuse(
            .shape, "boxes [N, count, 4] and scores [N, classes, count]", got: "\(boxes.shape) and \(scores.shape)")
        }
        let most = try x.optionalInts(2)?.first ?? 0
        let threshold = try x.scalar(3) ?? 0
        let least = try x.scalar(4)
        let (places, marks) = (
          try boxes.cast(to: .float32).scalars(Float.self), try scores.cast(to: .float32).scalars(Float.self)
        )
        let (classes, count) = (scores.shape[1], scores.shape[2])
        var selected: [Int64] = []
        for batch in 0..<boxes.shape[0] {
          let all = (0..<count).map { index in
            let start = (batch * count + index) * 4
            return Box(places[start..<(start + 4)], isCentered: isCentered)
          }
          for kind in 0..<classes {
            let start = (batch * classes + kind) * count
            let order = (0..<count).filter { index in least.map { Double(marks[start + index]) > $0 } ?? true }
              .sorted { (marks[start + $0], $1) > (marks[start + $1], $0) }
            var kept: [Int] = []
            for index in order where kept.count < most {
              if kept.allSatisfy({ all[$0].overlap(all[index]) <= threshold }) { kept.append(index) }
            }
            for index in kept { selected += [Int64(batch), Int64(kind), Int64(index)] }
          }
        }
        return [try Tensor(selected, shape: [selected.count / 3, 3], device: .cpu)]
      }
    }
  ]
}
