//! Times and durations as they are written on a command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use updraft::Date;

/// A duration: a number and its unit, as in `90s`.
pub(super) fn duration(text: &str) -> anyhow::Result<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => bail!("its form is 500ms, 30s, 15m, 2h or 7d"),
    };
    let number: u64 = number.parse().context("its form is 30s, 15m, 2h or 7d")?;
    let millis = number.checked_mul(unit).context("it is too long")?;
    Ok(Duration::from_millis(millis))
}

/// A point in time, in milliseconds since 1970: a date of ISO 8601, or how long ago it is. `None` if
/// it has neither form.
pub(super) fn time(text: &str) -> Option<u64> {
    if let Ok(ago) = duration(text) {
        return Some(now().saturating_sub(millis(ago)));
    }
    // JavaScript takes February 30th for March 2nd.
    let day = text.get(.."2026-02-30".len()).unwrap_or(text);
    let is_no_day = |iso: String| !iso.starts_with(day);
    if Date::parse(day).to_iso().is_some_and(is_no_day) {
        return None;
    }
    // Nothing was stored before 1970.
    let date = Date::parse(text).millis()?;
    Some(u64::try_from(date).unwrap_or_default())
}

/// Milliseconds since 1970, by the clock of this machine.
pub(super) fn now() -> u64 {
    millis(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A time in milliseconds since 1970, as `2026-01-31T12:00:00.000Z`; if no date is that late, the
/// last one that there is.
pub(super) fn iso(time: u64) -> String {
    let date = |millis: u64| Date::from_millis(millis as f64).to_iso();
    let latest = 8_640_000_000_000_000;
    date(time.min(latest)).unwrap_or_default()
}

/// How long ago something was, in its largest unit.
pub(super) fn ago(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("15m", 900_000),
            ("2h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis));
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "5w",
            "1.5h",
            "99999999999999999d",
            "5ß",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_dates_or_ages() {
        assert_eq!(time("1970-01-02"), Some(86_400_000));
        assert_eq!(time("1970-01-01T00:00:01.500Z"), Some(1500));
        assert_eq!(time("1970-01-01T01:00+01:00"), Some(0));
        assert_eq!(time("1969-01-01"), Some(0));
        let hour_ago = now() - 3_600_000;
        assert!(time("1h").is_some_and(|time| time >= hour_ago));
        for text in ["", "yesterday", "12", "2026-13-01", "2026-02-30", "1h30m"] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(iso(1500), "1970-01-01T00:00:01.500Z");
        assert_eq!(time(&iso(1_700_000_000_123)), Some(1_700_000_000_123));
        assert_eq!(iso(u64::MAX), "+275760-09-13T00:00:00.000Z");
    }
}
