//! Rectangles for a map: areas as given, shapes as square as can be (Bruls, Huizing, van Wijk: *Squarified Treemaps*, 2000).

/// A part of a rectangle, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rectangle {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Divides a rectangle among `sizes`, which come in falling order; what is zero gets nothing and stands in a corner.
pub(crate) fn divide(sizes: &[u64], within: Rectangle) -> Vec<Rectangle> {
    let total: f64 = sizes.iter().map(|size| *size as f64).sum();
    let mut left = within;
    let mut rectangles = Vec::with_capacity(sizes.len());
    if total <= 0.0 {
        return sizes.iter().map(|_| Rectangle { width: 0.0, height: 0.0, ..within }).collect();
    }
    let scale = within.width * within.height / total;
    let areas: Vec<f64> = sizes.iter().map(|size| *size as f64 * scale).collect();
    let mut at = 0;
    while at < areas.len() {
        let side = left.width.min(left.height);
        let mut end = at + 1;
        let mut worst = shape(&areas[at..end], side);
        // One more in the row, as long as that makes none of them longer than the longest so far.
        while end < areas.len() {
            let next = shape(&areas[at..=end], side);
            if next > worst {
                break;
            }
            worst = next;
            end += 1;
        }
        left = row(&areas[at..end], left, &mut rectangles);
        at = end;
    }
    rectangles
}

/// How long the longest rectangle of a row is for its width.
fn shape(areas: &[f64], side: f64) -> f64 {
    let sum: f64 = areas.iter().sum();
    if sum <= 0.0 || side <= 0.0 {
        return f64::INFINITY;
    }
    let thick = sum / side;
    let worst = |area: &f64| {
        let long = area / thick;
        if long <= 0.0 { f64::INFINITY } else { (long / thick).max(thick / long) }
    };
    areas.iter().map(worst).fold(0.0, f64::max)
}

/// Lays a row along the shorter side; what is left beside it.
fn row(areas: &[f64], within: Rectangle, out: &mut Vec<Rectangle>) -> Rectangle {
    let sum: f64 = areas.iter().sum();
    let Rectangle { x, y, width, height } = within;
    let upright = width >= height;
    let side = if upright { height } else { width };
    let thick = if side > 0.0 { sum / side } else { 0.0 };
    let mut along = 0.0;
    for area in areas {
        let long = if thick > 0.0 { area / thick } else { 0.0 };
        out.push(if upright {
            Rectangle { x, y: y + along, width: thick, height: long }
        } else {
            Rectangle { x: x + along, y, width: long, height: thick }
        });
        along += long;
    }
    if upright {
        Rectangle { x: x + thick, width: (width - thick).max(0.0), ..within }
    } else {
        Rectangle { y: y + thick, height: (height - thick).max(0.0), ..within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };

    #[test]
    fn the_papers_example() {
        let laid = divide(&[6, 6, 4, 3, 2, 2, 1], WITHIN);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(laid[0].width, 3.0) && near(laid[0].height, 2.0), "{:?}", laid[0]);
        assert!(
            near(laid[2].height, 7.0 / 3.0) && near(laid[2].width, 12.0 / 7.0),
            "{:?}",
            laid[2]
        );
    }

    #[test]
    fn areas_are_sizes_and_none_lies_over_another() {
        let sizes = [500, 300, 77, 40, 9, 9, 1, 0];
        let laid = divide(&sizes, WITHIN);
        let total: u64 = sizes.iter().sum();
        for (size, at) in sizes.iter().zip(&laid) {
            let wanted = *size as f64 / total as f64 * 24.0;
            assert!((at.width * at.height - wanted).abs() < 1e-6, "{size} {at:?}");
            assert!(at.x >= -1e-9 && at.x + at.width <= 6.0 + 1e-6);
            assert!(at.y >= -1e-9 && at.y + at.height <= 4.0 + 1e-6);
        }
        for (n, a) in laid.iter().enumerate() {
            for b in &laid[n + 1..] {
                let wide = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
                let high = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
                assert!(wide < 1e-6 || high < 1e-6, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn nothing_to_divide_is_no_failure() {
        assert!(divide(&[], WITHIN).is_empty());
        assert_eq!(divide(&[0, 0], WITHIN).len(), 2);
        let none = Rectangle { width: 0.0, ..WITHIN };
        assert!(
            divide(&[5, 3], none).iter().all(|at| at.width.is_finite() && at.height.is_finite())
        );
    }
}
