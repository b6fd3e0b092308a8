//! Days and times: from texts and to parts.

const DAY_SECONDS: i64 = 86_400;

/// The part of a point in time that an id stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Minute,
    Hour,
    Weekday,
    HourOfWeek,
    Weekend,
    Day,
    DayOfYear,
    Month,
    Quarter,
    Year,
}

/// All of them, with the names that recipes say.
pub(crate) const PARTS: [(&str, Part); 10] = [
    ("minute", Part::Minute),
    ("hour", Part::Hour),
    ("weekday", Part::Weekday),
    ("hour_of_week", Part::HourOfWeek),
    ("weekend", Part::Weekend),
    ("day", Part::Day),
    ("day_of_year", Part::DayOfYear),
    ("month", Part::Month),
    ("quarter", Part::Quarter),
    ("year", Part::Year),
];

impl Part {
    /// Of a time in seconds since 1970-01-01.
    pub(crate) fn of(self, seconds: i64) -> i64 {
        let (day, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        // The first of January 1970 was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        match self {
            Self::Minute => second / 60 % 60,
            Self::Hour => second / 3600,
            Self::Weekday => weekday,
            Self::HourOfWeek => weekday * 24 + second / 3600,
            Self::Weekend => i64::from(weekday >= 5),
            Self::Day => date(day).2,
            Self::DayOfYear => day - day_number(date(day).0, 1, 1) + 1,
            Self::Month => date(day).1,
            Self::Quarter => (date(day).1 - 1) / 3 + 1,
            Self::Year => date(day).0,
        }
    }
}

/// Days from March to the first of a month counted from March: months have 30.6 days on average.
fn days_before(month: i64) -> i64 {
    (153 * month + 2) / 5
}

/// The number of a day, 0 being 1970-01-01. Years start in March here, so that the leap day is last.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between the first of March of year 0 and 1970-01-01.
    year * 365 + leap_days + days_before(month) + day - 1 - 719_468
}

/// Year, month from 1, day from 1.
fn date(day: i64) -> (i64, i64, i64) {
    // 146,097 days repeat every 400 years. The estimate of the year is late by at most one.
    let estimate = (day + 719_468) * 400 / 146_097;
    let mut year = estimate + 1;
    while day_number(year, 3, 1) > day {
        year -= 1;
    }
    let in_year = day - day_number(year, 3, 1);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - days_before(month) + 1;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Seconds since 1970-01-01 of an ISO 8601 date, alone or with a time, whose zone may be given:
/// `2024-02-29`, `2024-02-29T13:05:09.25+02:00`. `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let mut rest = text.trim().as_bytes();
    let (year, month, day) =
        (digits(&mut rest, 4)?, after(&mut rest, b'-')?, after(&mut rest, b'-')?);
    let days = day_number(year, month, day);
    if !(1..=12).contains(&month) || date(days) != (year, month, day) {
        return None;
    }
    if rest.is_empty() {
        return Some(days * DAY_SECONDS);
    }
    if !b"Tt ".contains(&rest[0]) {
        return None;
    }
    rest = &rest[1..];
    let (hour, minute) = (digits(&mut rest, 2)?, after(&mut rest, b':')?);
    let second = if rest.first() == Some(&b':') { after(&mut rest, b':')? } else { 0 };
    if let Some(b'.' | b',') = rest.first() {
        let fraction = rest[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = &rest[fraction + 1..];
    }
    // A leap second counts as the second after it.
    if hour > 24 || minute > 59 || second > 60 || (hour == 24 && minute + second > 0) {
        return None;
    }
    let time = hour * 3600 + minute * 60 + second;
    Some(days * DAY_SECONDS + time - zone(rest)?)
}

/// Seconds that a zone is ahead.
fn zone(mut rest: &[u8]) -> Option<i64> {
    let sign = match rest {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    rest = &rest[1..];
    let hours = digits(&mut rest, 2)?;
    let minutes = match rest {
        [] => 0,
        [b':', ..] => after(&mut rest, b':')?,
        _ => digits(&mut rest, 2)?,
    };
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    *rest = after;
    let number = std::str::from_utf8(number).ok()?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

/// Two digits behind a mark.
fn after(rest: &mut &[u8], mark: u8) -> Option<i64> {
    *rest = rest.strip_prefix(&[mark])?;
    digits(rest, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        let first = day_number(1599, 12, 31);
        let mut next = (1599, 12, 31);
        for day in first..first + 300_000 {
            assert_eq!(date(day), next, "day {day}");
            let (year, month, of_month) = next;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let length = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            next = if of_month < length[month as usize - 1] {
                (year, month, of_month + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
        assert_eq!(day_number(1970, 1, 1), 0);
    }

    #[test]
    fn texts_are_read_or_refused() {
        assert_eq!(parse("1970-01-02"), Some(86_400));
        assert_eq!(parse("2024-02-29T13:05:09.25+02:00"), Some(1_709_204_709));
        assert_eq!(parse("2024-02-29 13:05:09Z"), parse("2024-02-29T08:05:09-0500"));
        for text in ["", "2023-02-29", "2024-13-01", "2024-1-1", "24-01-01", "2024-01-01T25:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["2024-01-01T12:00+", "2024-01-01x", "2024-01-01T12:00:00Zx", "2024-01-é1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
