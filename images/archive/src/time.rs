//! The times an archive writes, and those for people: seconds since 1970 in, seconds since 1970 out.

/// Reads the date of a Release file: `Sat, 15 Nov 2025 09:14:22 UTC` (RFC 5322 with `UTC`, `GMT` or `+0000`; the
/// weekday is not checked). `None` for anything else; the Debian repository format knows no other zone.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as u64 + 1;
    let year: u64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = words.next()?;
    let known = (1970..10_000).contains(&year) && (1..=31).contains(&day);
    let known = known && hour < 24 && minute < 60 && second <= 60;
    let known = known && matches!(zone, "UTC" | "GMT" | "Z" | "+0000");
    (known && clock.next().is_none() && words.next().is_none())
        .then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// For people: `2025-11-15 09:14 UTC`.
pub(crate) fn show(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

/// As services that keep all states of an archive have it in their addresses: `20251115T091422Z`.
pub(crate) fn snapshot(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Days from 1970-01-01 to that day of the Gregorian calendar (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", for years from 1970 on).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days`].
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_release_files_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sat, 15 Nov 2025 09:14:22 UTC", 1_763_198_062),
            ("15 Nov 2025 09:14:22 +0000", 1_763_198_062),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        for bad in [
            "",
            "Sat, 15 Nov 2025 09:14:22",
            "Sat, 15 Nov 2025 09:14:22 +0200",
            "Sat, 99 Nov 2025 09:14:22 UTC",
            "Sat, 15 Nov 1925 09:14:22 UTC",
            "Sat, 15 Foo 2025 09:14:22 UTC",
            "Sat, 15 Nov 2025 09:14 UTC",
            "Sat, 15 Nov 99999999999999999999 09:14:22 UTC",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        for day in (0..1_000_000).step_by(13) {
            let (year, month, date) = civil(day);
            assert_eq!(days(year, month, date), day);
        }
        assert_eq!(show(1_763_198_062), "2025-11-15 09:14 UTC");
        assert_eq!(snapshot(1_763_198_062), "20251115T091422Z");
        show(u64::MAX);
    }
}
