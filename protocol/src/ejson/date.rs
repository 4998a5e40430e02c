//! A point in time as in JavaScript: whole milliseconds since 1970 within ±100 million days, or
//! invalid.

use std::time::{Duration, SystemTime};

/// A JavaScript date, possibly invalid.
///
/// With `==` two invalid dates are equal; with [`equals`](super::equals) they are not, as in
/// Meteor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    millis: Option<i64>,
}

const MAX_MILLIS: f64 = 8.64e15;
const MILLIS_PER_DAY: i64 = 86_400_000;

impl Date {
    /// The invalid date.
    pub const INVALID: Self = Self { millis: None };

    /// Milliseconds since the epoch. Fractions are cut off; NaN and numbers out of range give an
    /// invalid date.
    pub fn from_millis(millis: f64) -> Self {
        // The range keeps the cast exact, and excludes NaN.
        Self {
            millis: (millis.abs() <= MAX_MILLIS).then_some(millis as i64),
        }
    }

    /// Milliseconds since the epoch, unless the date is invalid.
    pub fn millis(&self) -> Option<i64> {
        self.millis
    }

    /// `2020-01-01T00:00:00.000Z`, with a sign and six digits for years outside 0 to 9999; `None`
    /// for an invalid date.
    pub fn to_iso(&self) -> Option<String> {
        let millis = self.millis?;
        let (year, month, day) = civil(millis.div_euclid(MILLIS_PER_DAY));
        let in_day = millis.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        let year = match year {
            0..=9999 => format!("{year:04}"),
            _ => format!("{year:+07}"),
        };
        Some(format!(
            "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        ))
    }

    /// Parses the forms of ISO 8601 that JavaScript's `Date.parse` knows; everything else is
    /// invalid.
    ///
    /// A time without an offset is UTC, as on a server in that time zone.
    pub fn parse(text: &str) -> Self {
        parse_iso(text).map_or(Self::INVALID, |millis| Self::from_millis(millis as f64))
    }
}

/// The system time; a time out of range is invalid.
impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        Self::from_millis(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

fn parse_iso(text: &str) -> Option<i64> {
    let mut rest = Digits(text.as_bytes());
    let year = match rest.one_of(b"+-") {
        Some(sign) => match (sign, rest.number(6)?) {
            (b'-', 0) => return None,
            (b'-', year) => -year,
            (_, year) => year,
        },
        None => rest.number(4)?,
    };
    let (mut month, mut day) = (1, 1);
    if rest.one_of(b"-").is_some() {
        month = rest.number(2)?;
        if rest.one_of(b"-").is_some() {
            day = rest.number(2)?;
        }
    }
    // The day may exceed the month, up to 31: the 30th of February is a day in March.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut millis = days(year, month, day) * MILLIS_PER_DAY;
    if rest.one_of(b"T").is_some() {
        millis += rest.time()?;
    }
    rest.0.is_empty().then_some(millis)
}

/// The rest of the text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digit(&mut self) -> Option<i64> {
        self.one_of(b"0123456789")
            .map(|digit| i64::from(digit - b'0'))
    }

    fn number(&mut self, digits: usize) -> Option<i64> {
        (0..digits).try_fold(0, |number, _| Some(number * 10 + self.digit()?))
    }

    /// `HH:mm`, `HH:mm:ss` or `HH:mm:ss.sss…`, then `Z`, an offset or nothing.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        let (mut second, mut milli) = (0, 0);
        if self.one_of(b":").is_some() {
            second = self.number(2)?;
            if self.one_of(b".").is_some() {
                milli = self.digit()? * 100
                    + self.digit().unwrap_or(0) * 10
                    + self.digit().unwrap_or(0);
                while self.digit().is_some() {}
            }
        }
        let past_midnight = hour == 24 && (minute, second, milli) != (0, 0, 0);
        if hour > 24 || past_midnight || minute > 59 || second > 59 {
            return None;
        }
        let time = ((hour * 60 + minute) * 60 + second) * 1000 + milli;
        match self.one_of(b"Z+-") {
            Some(sign @ (b'+' | b'-')) => {
                let hours = self.number(2)?;
                self.one_of(b":")?;
                let minutes = self.number(2)?;
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let offset = (hours * 60 + minutes) * 60_000;
                Some(if sign == b'-' {
                    time + offset
                } else {
                    time - offset
                })
            }
            _ => Some(time),
        }
    }
}

// Both functions count in years that begin in March, so that the leap day is the last day of its
// year, and in eras of 400 years, which all have the same number of days.
const DAYS_PER_ERA: i64 = 146_097;
const DAYS_TO_1970: i64 = 719_468;

/// Days since 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month > 2 { year } else { year - 1 };
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    march_year.div_euclid(400) * DAYS_PER_ERA + day_of_era - DAYS_TO_1970
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_1970;
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = days.div_euclid(DAYS_PER_ERA) * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected numbers are those of Node 20 in UTC.
    #[test]
    fn ddp_182_deviation_013_dates_are_parsed_as_javascript_does() {
        for (text, millis) in [
            ("2020", 1_577_836_800_000),
            ("2020-01", 1_577_836_800_000),
            ("2020-01-01", 1_577_836_800_000),
            ("2020-02-30", 1_583_020_800_000),
            ("2020-02-31", 1_583_107_200_000),
            ("2020-01-01T10:00Z", 1_577_872_800_000),
            ("2020T10:00Z", 1_577_872_800_000),
            ("2020-01T10:00Z", 1_577_872_800_000),
            ("2020-01-01T10:00", 1_577_872_800_000),
            ("2020-01-01T24:00:00.000Z", 1_577_923_200_000),
            ("2020-01-01T10:00:00.1Z", 1_577_872_800_100),
            ("2020-01-01T10:00:00.12345678901234Z", 1_577_872_800_123),
            ("2020-01-01T10:00:00+05:30", 1_577_853_000_000),
            ("2020-01-01T10:00+23:59", 1_577_786_460_000),
            ("2020-01-01T00:00:00.0009Z", 1_577_836_800_000),
            ("+002020-01-01", 1_577_836_800_000),
            ("-000001-01-01", -62_198_755_200_000),
            ("+000000", -62_167_219_200_000),
            ("+275760-09-13", 8_640_000_000_000_000),
        ] {
            assert_eq!(Date::parse(text).millis(), Some(millis), "{text}");
        }
        for text in [
            "",
            "x",
            "2020-02-32",
            "2020-13-01",
            "2020-00-01",
            "2020-01-00",
            "2020-01-01T24:00:01Z",
            "2020-01-01T10:00:60Z",
            "2020-01-01T10:60Z",
            "2020-01-01T10Z",
            "2020-01-01T10:00:00.Z",
            "2020-01-01T10:00:00+05",
            "2020-01-01T10:00+24:00",
            "2020-01-01T10:00+23:60",
            "2020-01-01+01:00",
            "20200101",
            "+275760-09-14",
            "+275760-09-13T00:00:00.001Z",
            "2020-01-01T00:00Zx",
        ] {
            assert_eq!(Date::parse(text), Date::INVALID, "{text}");
        }
    }

    #[test]
    fn dates_print_as_in_javascript() {
        for (millis, iso) in [
            (-1.0, "1969-12-31T23:59:59.999Z"),
            (-0.5, "1970-01-01T00:00:00.000Z"),
            (1_500_000_000_123.9, "2017-07-14T02:40:00.123Z"),
            (-62_198_755_200_000.0, "-000001-01-01T00:00:00.000Z"),
            (253_402_300_800_000.0, "+010000-01-01T00:00:00.000Z"),
            (-8.64e15, "-271821-04-20T00:00:00.000Z"),
            (8.64e15, "+275760-09-13T00:00:00.000Z"),
        ] {
            let date = Date::from_millis(millis);
            assert_eq!(date.to_iso().as_deref(), Some(iso));
            assert_eq!(Date::parse(iso), date);
        }
        for millis in [8.64e15 + 1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Date::from_millis(millis).to_iso(), None);
        }
    }

    #[test]
    fn every_day_is_the_day_after_the_one_before() {
        for day in -1_000_000..1_000_000 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
