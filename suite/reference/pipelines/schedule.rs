//! When a recurring run is due: after an interval, or at the times of a cron expression that begins with seconds.

use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use super::model::Seconds;

/// The fields of a cron expression: seconds, minutes, hours, days of the month, months, days of the week.
const FIELDS: [(u32, u32); 6] = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// How far ahead a time is looked for, in steps of at least a second.
const MOST_STEPS: usize = 20_000;

/// A cron expression: which values each field may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Cron {
    fields: [u64; 6],
    /// Whether the days of the month and of the week are both restricted: then either suffices.
    either_day: bool,
}

impl Cron {
    /// Reads an expression of five or six fields, the seconds first and the day of the week last and optional. The error is
    /// what the API server says.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        let expanded = match text {
            "@yearly" | "@annually" => "0 0 0 1 1 *",
            "@monthly" => "0 0 0 1 * *",
            "@weekly" => "0 0 0 * * 0",
            "@daily" | "@midnight" => "0 0 0 * * *",
            "@hourly" => "0 0 * * * *",
            other => other,
        };
        let words: Vec<&str> = expanded.split_whitespace().collect();
        if !(5..=6).contains(&words.len()) {
            return Err(format!(
                "Expected 5 to 6 fields, found {}: {text}",
                words.len()
            ));
        }
        let mut fields = [0; 6];
        for (number, field) in fields.iter_mut().enumerate() {
            *field = parse_field(words.get(number).copied().unwrap_or("*"), number)?;
        }
        let restricted = |number: usize| {
            !words
                .get(number)
                .is_none_or(|word| word.starts_with(['*', '?']))
        };
        Ok(Self {
            fields,
            either_day: restricted(3) && restricted(5),
        })
    }

    fn has(&self, field: usize, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.fields[field] & (1 << value) != 0)
    }

    fn has_day(&self, time: DateTime) -> bool {
        let of_month = self.has(3, time.day());
        let of_week = self.has(5, time.weekday().to_sunday_zero_offset());
        if self.either_day {
            of_month || of_week
        } else {
            of_month && of_week
        }
    }

    /// The first time after `after`, in seconds since 1970; none within reach.
    pub(in super::super) fn next(&self, after: Seconds) -> Option<Seconds> {
        let start = Timestamp::from_second(after.checked_add(1)?).ok()?;
        let mut time = start.to_zoned(TimeZone::UTC).datetime();
        for _ in 0..MOST_STEPS {
            // What does not fit is left at once: the whole month, day, hour or minute.
            time = if !self.has(4, time.month()) {
                time.date()
                    .first_of_month()
                    .checked_add(1.month())
                    .ok()?
                    .at(0, 0, 0, 0)
            } else if !self.has_day(time) {
                time.date().checked_add(1.day()).ok()?.at(0, 0, 0, 0)
            } else if !self.has(2, time.hour()) {
                let hour = time.date().at(time.hour(), 0, 0, 0);
                hour.checked_add(1.hour()).ok()?
            } else if !self.has(1, time.minute()) {
                let minute = time.date().at(time.hour(), time.minute(), 0, 0);
                minute.checked_add(1.minute()).ok()?
            } else if !self.has(0, time.second()) {
                time.checked_add(1.second()).ok()?
            } else {
                let time = time.to_zoned(TimeZone::UTC).ok()?;
                return Some(time.timestamp().as_second());
            };
        }
        None
    }
}

/// The values of one field, as bits.
fn parse_field(text: &str, number: usize) -> Result<u64, String> {
    let (least, most) = FIELDS[number];
    let value = |word: &str| -> Result<u32, String> {
        let lower = word.to_lowercase();
        let named = match number {
            4 => MONTHS
                .iter()
                .position(|name| *name == lower)
                .map(|at| at + 1),
            5 => DAYS.iter().position(|name| *name == lower),
            _ => None,
        };
        match named.and_then(|at| u32::try_from(at).ok()) {
            Some(value) => Ok(value),
            None => word.parse().map_err(|_| {
                format!("Failed to parse int from {word}: strconv.Atoi: parsing {word:?}: invalid syntax")
            }),
        }
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, value(step)?),
            None => (part, 1),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (least, most),
            (_, Some((first, last))) => (value(first)?, value(last)?),
            (one, None) if part.contains('/') => (value(one)?, most),
            (one, None) => (value(one)?, value(one)?),
        };
        if first < least || last > most || first > last || step == 0 {
            return Err(format!(
                "Bad value for a field of {least} to {most}: {part}"
            ));
        }
        for value in (first..=last).step_by(step as usize) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

/// When a recurring run is due next, after it was at `last`; none where it never is again. Without catching up it is the
/// latest of those times that are past.
pub(super) fn due(
    trigger: &Value,
    created: Seconds,
    last: Option<Seconds>,
    now: Seconds,
    catches_up: bool,
) -> Option<Seconds> {
    let cron = &trigger["cron_schedule"];
    let periodic = &trigger["periodic_schedule"];
    let window = if cron.is_object() { cron } else { periodic };
    let time = |key: &str| {
        let time = window[key].as_str()?.parse::<Timestamp>().ok()?;
        Some(time.as_second())
    };
    let (start, end) = (time("start_time"), time("end_time").unwrap_or(i64::MAX));
    let from = last
        .or(start)
        .unwrap_or(created)
        .max(start.unwrap_or(i64::MIN));
    let next: Box<dyn Fn(Seconds) -> Option<Seconds>> = if cron.is_object() {
        let parsed = Cron::parse(cron["cron"].as_str()?).ok()?;
        Box::new(move |after| parsed.next(after))
    } else if periodic.is_object() {
        let interval: Seconds = periodic["interval_second"].as_str()?.parse().ok()?;
        Box::new(move |after| after.checked_add(interval))
    } else {
        // Once, at once.
        return last.is_none().then_some(created);
    };
    let mut due = next(from).filter(|due| *due <= end)?;
    while let Some(later) = next(due).filter(|later| !catches_up && *later <= now.min(end)) {
        due = later;
    }
    Some(due)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seconds(text: &str) -> Seconds {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_next_time_of_an_expression_is_found() {
        let after = seconds("2026-11-21T10:09:17Z");
        for (cron, next) in [
            ("0 * * * * *", "2026-11-21T10:10:00Z"),
            ("*/20 * * * * *", "2026-11-21T10:09:20Z"),
            // The seconds come first even where a field is missing: at 4 o'clock on the first of a month.
            ("0 0 4 1 *", "2026-12-01T04:00:00Z"),
            ("0 0 4 * * MON", "2026-11-23T04:00:00Z"),
            ("30 15 10-12 * jan,jul ?", "2027-01-01T10:15:30Z"),
            ("0 0 0 13 * 5", "2026-11-27T00:00:00Z"),
            ("@hourly", "2026-11-21T11:00:00Z"),
        ] {
            let found = Cron::parse(cron).unwrap().next(after);
            assert_eq!(found, Some(seconds(next)), "{cron}");
        }
        assert_eq!(Cron::parse("0 0 0 31 2 *").unwrap().next(after), None);
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for (cron, why) in [
            ("every now and then", "found 4"),
            ("x * * * * *", "Failed to parse int from x"),
            ("60 * * * * *", "Bad value"),
            ("*/0 * * * * *", "Bad value"),
            ("0 0 5-2 * * *", "Bad value"),
        ] {
            assert!(Cron::parse(cron).unwrap_err().contains(why), "{cron}");
        }
    }

    #[test]
    fn what_was_missed_is_caught_up_or_skipped() {
        let now = 10_000;
        let window = json!({"periodic_schedule": {
            "interval_second": "60", "start_time": "1970-01-01T02:41:00Z", "end_time": "1970-01-01T02:46:20Z",
        }});
        // From 9660 to 9980: 9720, 9780, 9840, 9900, 9960.
        let all = |catches_up: bool| {
            let mut last = None;
            let mut times = vec![];
            while let Some(time) = due(&window, now, last, now, catches_up) {
                times.push(time);
                last = Some(time);
            }
            times
        };
        assert_eq!(all(true), [9720, 9780, 9840, 9900, 9960]);
        assert_eq!(all(false), [9960]);
        assert_eq!(due(&json!({}), 5, None, now, true), Some(5));
        assert_eq!(due(&json!({}), 5, Some(5), now, true), None);
    }
}
