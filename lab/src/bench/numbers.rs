// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbers of several runs, as one.

/// Three digits are more than a run can promise.
pub(super) fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// A whole number, or millions with one digit behind the point.
pub(crate) fn thousands(value: f64) -> String {
    if value >= 1e6 {
        return format!("{:.1} M", value / 1e6);
    }
    let whole = value.round() as u64;
    match (whole / 1000, whole % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

/// The middle value, of an even number the mean of the middle two.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted.get(middle - 1)? + upper) / 2.0)
}

/// The least and the most.
pub(super) fn extremes(values: &[f64]) -> Option<(f64, f64)> {
    let mut all = values.iter().copied();
    let first = all.next()?;
    Some(all.fold((first, first), |(least, most), value| {
        (least.min(value), most.max(value))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_read_well() {
        let shown = [0.4, 451.0, 4_019.6, 405_000.0, 128_040_000.0].map(thousands);
        assert_eq!(shown, ["0", "451", "4,020", "405,000", "128.0 M"]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_extremes_are_in_any_place() {
        assert_eq!(extremes(&[]), None);
        assert_eq!(extremes(&[2.0]), Some((2.0, 2.0)));
        assert_eq!(extremes(&[2.0, 3.0, 1.0]), Some((1.0, 3.0)));
    }
}
