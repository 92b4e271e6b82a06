//! Results as a table that a reader of Markdown sees as one too.

use std::fmt::{self, Write};

use super::record::{DeviceRecord, FailedRecord, LimitedBy, Record, TimedRecord, problems};

/// Widths of the columns: kernel, case, type, time, rate, share.
const WIDTHS: [usize; 6] = [17, 44, 4, 9, 14, 16];

/// The head of the table, two lines.
pub fn table_head() -> String {
    let names = ["kernel", "case", "type", "time", "rate", "of the limit"].map(str::to_string);
    let head = columns(names, "times as fast as");
    let rule: String = head
        .chars()
        .map(|c| if c == '|' { '|' } else { '-' })
        .collect();
    format!("{head}\n{rule}")
}

/// The row of one problem: what the kernel took, and how much longer the others.
pub fn table_row(problem: &[Record]) -> String {
    let others = others(problem);
    let [kernel, rest @ ..] = problem else {
        return String::new();
    };
    match kernel {
        Record::Timed(timed) if timed.what.is_kernel() => columns(cells(timed), &others),
        Record::Failed(FailedRecord { error, what }) => {
            let mut cells = [const { String::new() }; 6];
            cells[..3]
                .clone_from_slice(&[&what.kernel, &what.case, &what.dtype].map(String::clone));
            columns(cells, error)
        }
        // Lines of a peer alone: a row each.
        Record::Timed(timed) => {
            let row = columns(cells(timed), &timed.what.who());
            match rest {
                [] => row,
                rest => format!("{row}\n{}", table_row(rest)),
            }
        }
        Record::Run { .. } | Record::Device(_) => String::new(),
    }
}

fn cells(timed: &TimedRecord) -> [String; 6] {
    let TimedRecord { what, .. } = timed;
    [
        what.kernel.clone(),
        what.case.clone(),
        what.dtype.clone(),
        time(timed.microseconds),
        rate(timed),
        share(timed),
    ]
}

fn columns(cells: [String; 6], last: &str) -> String {
    let mut row = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        write!(row, "| {cell:<width$} ").expect("a String takes all");
    }
    format!("{row}| {last} |")
}

/// Ratios of everyone else's time to the kernel's.
fn others(problem: &[Record]) -> String {
    let Some(Record::Timed(kernel)) = problem.first() else {
        return String::new();
    };
    let ratios = problem[1..].iter().filter_map(|record| match record {
        Record::Timed(other) => {
            let ratio = other.microseconds / kernel.microseconds;
            Some(format!("{ratio:.2} {}", other.what.who()))
        }
        Record::Failed(failed) => Some(format!("{}: {}", failed.what.who(), failed.error)),
        Record::Run { .. } | Record::Device(_) => None,
    });
    ratios.collect::<Vec<_>>().join(", ")
}

/// Three figures, in the unit that fits.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        few if few < 1e3 => format!("{} us", figures(few)),
        more if more < 1e6 => format!("{} ms", figures(more / 1e3)),
        many => format!("{} s", figures(many / 1e6)),
    }
}

/// By what bounds it.
fn rate(timed: &TimedRecord) -> String {
    match timed.limited_by {
        Some(LimitedBy::Arithmetic) => flops(timed.gigaflops_per_second),
        Some(LimitedBy::Memory) | None => format!("{} GB/s", figures(timed.gigabytes_per_second)),
    }
}

fn flops(gigaflops: f64) -> String {
    match gigaflops {
        many if many >= 1e3 => format!("{} TFLOP/s", figures(many / 1e3)),
        few => format!("{} GFLOP/s", figures(few)),
    }
}

fn share(timed: &TimedRecord) -> String {
    match (timed.share_of_limit, timed.limited_by) {
        (Some(share), Some(by)) => format!("{:.0} % {}", 100.0 * share, name(by)),
        _ => String::new(),
    }
}

pub(super) fn name(by: LimitedBy) -> &'static str {
    match by {
        LimitedBy::Memory => "memory",
        LimitedBy::Arithmetic => "arithmetic",
    }
}

/// Three of them, and no more than the point needs.
pub(super) fn figures(number: f64) -> String {
    match number {
        small if small < 10.0 => format!("{small:.2}"),
        middle if middle < 100.0 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    }
}

/// `cpu: a processor, 2 threads; copies 10.5 GB/s; matmul F32 90.0 GFLOP/s`
impl fmt::Display for DeviceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self
            .facts
            .iter()
            .map(|(name, fact)| format!("{name} {fact}"));
        let facts: Vec<_> = facts.collect();
        write!(f, "{}: {}", self.device, facts.join(", "))?;
        if let Some(copy) = self.copy_gigabytes_per_second {
            write!(f, "; copies {} GB/s", figures(copy))?;
        }
        for (dtype, rate) in &self.matmul_gigaflops_per_second {
            write!(f, "; matmul {dtype} {}", flops(*rate))?;
        }
        Ok(())
    }
}

/// The whole table, under a line for each device.
pub(super) fn write_all(records: &[Record], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for record in records {
        if let Record::Device(device) = record {
            writeln!(f, "{device}")?;
        }
    }
    writeln!(f, "{}", table_head())?;
    let rows = problems(records);
    rows.iter()
        .try_for_each(|problem| writeln!(f, "{}", table_row(problem)))
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::timed;
    use super::*;
    use crate::kernels::KERNEL;

    #[test]
    fn a_row_says_how_much_longer_the_others_took() {
        let problem = [
            Record::Timed(timed("a", KERNEL, &[10.0])),
            Record::Timed(timed("a", "Burn's attention", &[25.0])),
        ];
        let row = table_row(&problem);
        assert!(row.contains("| 10.0 us "), "{row}");
        assert!(row.contains("| 50 % memory "), "{row}");
        assert!(row.ends_with("| 2.50 Burn's attention |"), "{row}");
    }

    #[test]
    fn rows_have_the_columns_of_the_head() {
        let problem = [Record::Timed(timed("a", KERNEL, &[10.0]))];
        let bars = |line: &str| line.matches('|').count();
        let head = table_head();
        for line in head.lines() {
            assert_eq!(bars(line), bars(&table_row(&problem)));
        }
    }
}
