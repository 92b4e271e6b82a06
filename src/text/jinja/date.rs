//! Dates, as much as `strftime_now` needs.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const SECONDS_A_DAY: i64 = 86_400;

/// Formats a time, in seconds since 1970, in UTC.
///
/// Python prints local time; a server's answers should not depend on where it stands.
///
/// # Errors
///
/// A sentence when the format holds a directive that is not known here.
pub(super) fn format_utc(seconds: i64, format: &str) -> Result<String, String> {
    let day = seconds.div_euclid(SECONDS_A_DAY);
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    let (year, month, day_of_month) = civil_date(day);
    let month_name = MONTHS[(month - 1) as usize];
    // 1970 began on a Thursday.
    let day_name = DAYS[(day + 4).rem_euclid(7) as usize];
    let hour = second / 3600;
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let mut directive = characters.next();
        let is_padded = directive != Some('-');
        if !is_padded {
            directive = characters.next();
        }
        let two = |value: i64| {
            if is_padded {
                format!("{value:02}")
            } else {
                value.to_string()
            }
        };
        text.push_str(&match directive {
            Some('Y') => year.to_string(),
            Some('y') => two(year.rem_euclid(100)),
            Some('m') => two(month),
            Some('d') => two(day_of_month),
            Some('H') => two(hour),
            Some('I') => two((hour + 11) % 12 + 1),
            Some('M') => two(second / 60 % 60),
            Some('S') => two(second % 60),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('B') => month_name.to_string(),
            Some('b') => month_name[..3].to_string(),
            Some('A') => day_name.to_string(),
            Some('a') => day_name[..3].to_string(),
            Some('%') => "%".to_string(),
            other => {
                let name = other.map(String::from).unwrap_or_default();
                return Err(format!("strftime_now does not know %{name}"));
            }
        });
    }
    Ok(text)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last; 400 of them have 146 097 days.
fn civil_date(day: i64) -> (i64, i64, i64) {
    let from_march = day + 719_468;
    let era = from_march.div_euclid(146_097);
    let day_of_era = from_march.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::{civil_date, format_utc};

    #[test]
    fn days_count_through_leap_years() {
        let mut day = 0;
        for year in 1970..2405 {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if is_leap { 29 } else { 28 };
            for (month, days) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day_of_month in 1..=days {
                    assert_eq!(civil_date(day), (year, month, day_of_month));
                    day += 1;
                }
            }
        }
    }

    #[test]
    fn dates_look_as_in_python() {
        let moment = 1_732_476_909; // 2024-11-24 19:35:09 UTC, a Sunday
        for (format, expected) in [
            ("%d %b %Y", "24 Nov 2024"),
            ("%Y-%m-%d", "2024-11-24"),
            ("%A, %B %d; %a %y", "Sunday, November 24; Sun 24"),
            ("%H:%M:%S %I %p 100%%", "19:35:09 07 PM 100%"),
        ] {
            assert_eq!(format_utc(moment, format).as_deref(), Ok(expected));
        }
        assert_eq!(format_utc(0, "%-d %-m").as_deref(), Ok("1 1"));
    }

    #[test]
    fn an_unknown_directive_is_an_error() {
        assert!(format_utc(0, "%Q").is_err());
        assert!(format_utc(0, "%").is_err());
    }
}
