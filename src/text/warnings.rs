//! Warnings about many things at once.

/// Most warnings of one kind that are written out; a file may hold tens of thousands of tokens.
const SHOWN: usize = 3;

/// Writes the first of several warnings of one kind, and how many more there are.
pub(super) fn warn_of_each(warnings: impl Iterator<Item = String>) {
    for warning in few(warnings) {
        log::warn!("{warning}");
    }
}

fn few(mut warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown: Vec<String> = warnings.by_ref().take(SHOWN).collect();
    match warnings.count() {
        0 => {}
        more => shown.push(format!("{more} more as the last")),
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::few;

    #[test]
    fn of_twenty_thousand_warnings_three_are_written_and_the_rest_are_counted() {
        let few = |count: u32| few((0..count).map(|it| it.to_string()));
        assert_eq!(few(0), [""; 0]);
        assert_eq!(few(3), ["0", "1", "2"]);
        assert_eq!(few(20_000), ["0", "1", "2", "19997 more as the last"]);
    }
}
