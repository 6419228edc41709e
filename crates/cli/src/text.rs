//! Short numbers and times for people, and foreign text without control characters.

/// Foreign bytes as one line of printable ASCII.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// A path or an argument as printable ASCII.
pub fn shown(text: impl AsRef<std::ffi::OsStr>) -> String {
    use std::os::unix::ffi::OsStrExt;
    printable(text.as_ref().as_bytes())
}

/// An error without the number that Rust adds.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// A number in no more than four characters.
pub fn short(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    scaled(number, 1000, &["k", "M", "G", "T", "P", "E"])
}

/// A number per second, in no more than four characters.
pub fn rate(per_second: f64) -> String {
    match per_second {
        x if x <= 0.0 => "0".to_string(),
        x if x < 0.1 => "<0.1".to_string(),
        x if x < 9.95 => format!("{x:.1}"),
        x => short(x.round() as u64),
    }
}

/// A part of a whole, in percent and no more than four characters; a dash where there is no whole.
pub fn percent(part: Option<f64>) -> String {
    match part.map(|part| part.clamp(0.0, 1.0) * 100.0) {
        None => "-".to_string(),
        // Less than all must not read 100.
        Some(percent) if percent > 99.9 && percent < 100.0 => "99.9".to_string(),
        Some(percent) if percent < 99.95 => format!("{percent:.1}"),
        Some(_) => "100".to_string(),
    }
}

/// A duration in no more than five characters.
pub fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0 => "0".to_string(),
        1..1000 => format!("{nanoseconds}ns"),
        1000..1_000_000 => scaled(nanoseconds, 1000, &["us"]),
        1_000_000..1_000_000_000 => scaled(nanoseconds / 1000, 1000, &["ms"]),
        _ => seconds(nanoseconds / 1_000_000_000),
    }
}

/// Whole seconds in no more than four characters, in the greatest unit that fits.
pub fn seconds(seconds: u64) -> String {
    for (unit, letter) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= unit {
            return match seconds / unit {
                many if many >= 1000 && letter == "d" => ">2y".to_string(),
                many => format!("{many}{letter}"),
            };
        }
    }
    format!("{seconds}s")
}

/// At most three digits, with one after the point if there is room.
fn scaled(number: u64, step: u64, units: &[&str]) -> String {
    let mut unit = 0;
    let mut whole = number / step;
    let mut rest = number % step;
    while whole >= step && unit + 1 < units.len() {
        (whole, rest) = (whole / step, whole % step);
        unit += 1;
    }
    match whole {
        0..10 => format!("{whole}.{}{}", rest * 10 / step, units[unit]),
        _ => format!("{whole}{}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers() {
        for (number, text) in [
            (0, "0"),
            (9999, "9999"),
            (10_000, "10k"),
            (999_999, "999k"),
            (1_250_000, "1.2M"),
            (u64::MAX, "18E"),
        ] {
            assert_eq!(short(number), text);
        }
        for (number, text) in
            [(0.0, "0"), (0.01, "<0.1"), (0.5, "0.5"), (9.96, "10"), (123_456.0, "123k")]
        {
            assert_eq!(rate(number), text);
        }
    }

    #[test]
    fn parts() {
        for (part, text) in [
            (None, "-"),
            (Some(0.0), "0.0"),
            (Some(0.5), "50.0"),
            (Some(0.99999), "99.9"),
            (Some(1.0), "100"),
        ] {
            assert_eq!(percent(part), text);
        }
    }

    #[test]
    fn times() {
        for (time, text) in [
            (0, "0"),
            (999, "999ns"),
            (1000, "1.0us"),
            (12_345, "12us"),
            (1_234_567, "1.2ms"),
            (999_999_999, "999ms"),
            (59_000_000_000, "59s"),
            (60_000_000_000, "1m"),
        ] {
            assert_eq!(duration(time), text);
        }
        for (time, text) in [(86_400, "1d"), (604_800, "7d"), (u64::MAX, ">2y")] {
            assert_eq!(seconds(time), text);
        }
    }

    #[test]
    fn foreign_text() {
        assert_eq!(printable(b"nginx"), "nginx");
        assert_eq!(printable(b"\x1b[2J\n\xff"), "\\x1b[2J\\x0a\\xff");
    }

    proptest! {
        #[test]
        fn everything_fits(number: u64, per_second: f64) {
            prop_assert!(short(number).len() <= 4);
            prop_assert!(rate(per_second).len() <= 4);
            prop_assert!(percent(Some(per_second)).len() <= 4);
            prop_assert!(duration(number).len() <= 5);
            prop_assert!(seconds(number).len() <= 4);
        }
    }
}
