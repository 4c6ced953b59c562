//! Time since the kernel started, and a little randomness.

use std::io::Read;

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started, suspends included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// A number nobody else on the network picks at the same time: transaction ids, back-off jitter. No secret.
#[must_use]
pub fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    let read = fs_err::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    match read {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => clock_gettime(ClockId::Boottime).tv_nsec as u32,
    }
}

/// Seconds since 1970 that an HTTP `Date` names (RFC 9110 5.6.7, the fixed form); `None` if it is none.
#[must_use]
pub fn parse_http_date(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let name = words.next()?;
    let month = 1 + i64::try_from(months.iter().position(|m| *m == name)?).ok()?;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT")
        || !(1970..10_000).contains(&year)
        || !(1..=31).contains(&day)
        || !(0..24).contains(&hour)
        || !(0..60).contains(&minute)
        || !(0..=60).contains(&second)
    {
        return None;
    }
    // Days from the civil calendar, years counted from March (Howard Hinnant, "chrono-compatible date algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Sets the clock from a server's `Date` if it is plainly wrong: before 2025, as on a machine whose battery is empty.
/// Certificates and logs then make sense; a clock that runs is left alone, since the answer is not authenticated.
pub fn set_if_unset(date: &str) -> Option<i64> {
    const YEAR_2025: i64 = 1_735_689_600;
    if clock_gettime(ClockId::Realtime).tv_sec >= YEAR_2025 {
        return None;
    }
    let seconds = parse_http_date(date).filter(|s| *s >= YEAR_2025)?;
    let time = rustix::time::Timespec { tv_sec: seconds, tv_nsec: 0 };
    rustix::time::clock_settime(ClockId::Realtime, time).ok().map(|()| seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_the_rfc_is_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for bad in ["", "Sun, 06 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT", "x, 1 Jan 1 1:1:1 GMT"]
        {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_clock_runs_forward() {
        let first = boot_ms();
        assert!(boot_ms() >= first);
        assert_ne!((random_u32(), random_u32()), (0, 0));
    }
}
