//! What the user sees: JSON lines, a table on the terminal, an HTML page.

pub mod html;
pub mod json;
pub mod table;
pub mod verdict;

/// A figure with its unit, scaled so that it can be read: `23.4 ns`, `1.2M jobs/s`.
pub fn figure(value: f64, unit: crate::workload::Unit) -> String {
    use crate::workload::Unit;
    let time = |nanos: f64| {
        let (value, unit) = match nanos {
            n if n < 1e3 => (n, "ns"),
            n if n < 1e6 => (n / 1e3, "µs"),
            n if n < 1e9 => (n / 1e6, "ms"),
            n => (n / 1e9, "s"),
        };
        format!("{} {unit}", digits(value))
    };
    match unit {
        Unit::Ns => time(value),
        Unit::Us => time(value * 1e3),
        Unit::Ms => time(value * 1e6),
        Unit::S => time(value * 1e9),
        Unit::B => bytes(value),
        Unit::JobsPerS if value >= 1e6 => format!("{}M jobs/s", digits(value / 1e6)),
        Unit::JobsPerS if value >= 1e3 => format!("{}k jobs/s", digits(value / 1e3)),
        Unit::JobsPerS => format!("{} jobs/s", digits(value)),
        Unit::Count => digits(value),
    }
}

/// Bytes, scaled.
pub fn bytes(value: f64) -> String {
    match value {
        v if v < 10_240.0 => format!("{} B", digits(v)),
        v if v < 1024.0 * 1024.0 => format!("{} KiB", digits(v / 1024.0)),
        v if v < 10.0 * 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", digits(v / 1024.0 / 1024.0)),
        v => format!("{} GiB", digits(v / 1024.0 / 1024.0 / 1024.0)),
    }
}

/// Three significant digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Unit;

    #[test]
    fn figures_are_scaled_to_three_digits() {
        assert_eq!(figure(23.44, Unit::Ns), "23.4 ns");
        assert_eq!(figure(0.5, Unit::Us), "500 ns");
        assert_eq!(figure(1_234.0, Unit::Us), "1.23 ms");
        assert_eq!(figure(2.5, Unit::S), "2.50 s");
        assert_eq!(figure(128.0, Unit::B), "128 B");
        assert_eq!(figure(1_250_000.0, Unit::JobsPerS), "1.25M jobs/s");
        assert_eq!(figure(900.0, Unit::JobsPerS), "900 jobs/s");
    }
}
