//! What became slower from one run to another.

use std::collections::BTreeMap;
use std::fmt;

use super::record::{Record, Subject, TimedRecord, quantile};
use super::table::time;

/// Two runs, problem by problem.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// Slower beyond noise, the worst first.
    pub slower: Vec<Change>,
    /// Faster beyond noise, the best first.
    pub faster: Vec<Change>,
    /// How many are neither.
    pub level: usize,
    /// What has a time in the first run, and none in the second.
    pub lost: Vec<Subject>,
    /// How many only the second run times.
    pub new: usize,
    /// What is known of a device in either run, where that differs.
    pub other_devices: Vec<[String; 2]>,
}

/// A time before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Of what.
    pub what: Subject,
    /// In the first run, in microseconds.
    pub before: f64,
    /// In the second.
    pub after: f64,
}

impl Change {
    fn ratio(&self) -> f64 {
        self.after / self.before
    }
}

impl Comparison {
    /// Compares what the kernels took; others' times tell only of the machine. A time has changed
    /// when the middle halves of the samples lie apart and the medians by more than `noise`, a part
    /// of the first.
    pub fn of(before: &[Record], after: &[Record], noise: f64) -> Self {
        let mut comparison = Self {
            slower: vec![],
            faster: vec![],
            level: 0,
            lost: vec![],
            new: 0,
            other_devices: other_devices(before, after),
        };
        for first in kernels(before) {
            match kernels(after).find(|second| second.what == first.what) {
                Some(second) => comparison.add(first, second, noise),
                None => comparison.lost.push(first.what.clone()),
            }
        }
        let is_new = |second: &&TimedRecord| kernels(before).all(|first| first.what != second.what);
        comparison.new = kernels(after).filter(is_new).count();
        let by_ratio = |a: &Change, b: &Change| a.ratio().total_cmp(&b.ratio());
        comparison.slower.sort_by(|a, b| by_ratio(b, a));
        comparison.faster.sort_by(by_ratio);
        comparison
    }

    /// Whether both runs time something.
    pub fn is_empty(&self) -> bool {
        self.slower.is_empty() && self.faster.is_empty() && self.level == 0
    }

    fn add(&mut self, first: &TimedRecord, second: &TimedRecord, noise: f64) {
        let change = Change {
            what: first.what.clone(),
            before: first.microseconds,
            after: second.microseconds,
        };
        if is_slower(first, second, noise) {
            self.slower.push(change);
        } else if is_slower(second, first, noise) {
            self.faster.push(change);
        } else {
            self.level += 1;
        }
    }
}

fn kernels(records: &[Record]) -> impl Iterator<Item = &TimedRecord> {
    records.iter().filter_map(|record| match record {
        Record::Timed(timed) if timed.what.is_kernel() => Some(timed),
        _ => None,
    })
}

fn is_slower(first: &TimedRecord, second: &TimedRecord, noise: f64) -> bool {
    let [low, high] = [(second, 0.25), (first, 0.75)].map(|(timed, part)| {
        quantile(&timed.samples_microseconds, part).unwrap_or(timed.microseconds)
    });
    second.microseconds > first.microseconds * (1.0 + noise) && low > high
}

fn other_devices(before: &[Record], after: &[Record]) -> Vec<[String; 2]> {
    let devices = |records: &[Record]| {
        let devices = records.iter().filter_map(|record| match record {
            Record::Device(device) => Some((device.device.clone(), device.facts.clone())),
            _ => None,
        });
        devices.collect::<Vec<_>>()
    };
    let mut others = Vec::new();
    for (name, facts) in devices(before) {
        let same = |(other, _): &(String, _)| *other == name;
        if let Some((_, other)) = devices(after).into_iter().find(same)
            && other != facts
        {
            let said = |facts: BTreeMap<String, String>| {
                let facts = facts.iter().map(|(key, fact)| format!("{key} {fact}"));
                format!("{name}: {}", facts.collect::<Vec<_>>().join(", "))
            };
            others.push([said(facts), said(other)]);
        }
    }
    others
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for [before, after] in &self.other_devices {
            writeln!(f, "not the same machine: {before}, and then {after}")?;
        }
        for (word, changes) in [("slower", &self.slower), ("faster", &self.faster)] {
            for change in changes {
                writeln!(f, "{word} {change}")?;
            }
        }
        for lost in &self.lost {
            writeln!(f, "no time any more: {lost}")?;
        }
        let [slower, faster] = [&self.slower, &self.faster].map(Vec::len);
        let Self { level, new, .. } = self;
        let lost = self.lost.len();
        write!(
            f,
            "{slower} slower, {faster} faster, {level} within noise, {lost} without a time, {new} new"
        )
    }
}

/// `1.31 x cpu linear F32 [1x576->576]: 12.4 us, then 16.2 us`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = [self.before, self.after].map(time);
        let ratio = self.ratio();
        write!(f, "{ratio:.2} x {}: {before}, then {after}", self.what)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            kernel,
            case,
            dtype,
            ..
        } = self;
        write!(f, "{device} {kernel} {dtype} [{case}]")
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::timed;
    use super::*;
    use crate::kernels::KERNEL;

    fn run(times: &[(&str, &[f64])]) -> Vec<Record> {
        let timed = |(case, samples): &(&str, &[f64])| Record::Timed(timed(case, KERNEL, samples));
        times.iter().map(timed).collect()
    }

    #[test]
    fn only_what_lies_beyond_the_noise_is_slower() {
        let before = run(&[
            ("steady", &[10.0, 10.1, 10.2]),
            ("slower", &[10.0, 10.1, 10.2]),
            ("noisy", &[8.0, 10.0, 16.0]),
            ("faster", &[10.0, 10.1, 10.2]),
            ("gone", &[10.0]),
        ]);
        let after = run(&[
            ("steady", &[10.2, 10.3, 10.4]),
            ("slower", &[12.9, 13.1, 13.2]),
            ("noisy", &[9.0, 11.0, 14.0]),
            ("faster", &[5.0, 5.1, 5.2]),
            ("added", &[1.0]),
        ]);
        let comparison = Comparison::of(&before, &after, 0.05);
        let names = |changes: &[Change]| -> Vec<String> {
            changes
                .iter()
                .map(|change| change.what.case.clone())
                .collect()
        };
        assert_eq!(names(&comparison.slower), ["slower"]);
        assert_eq!(names(&comparison.faster), ["faster"]);
        assert_eq!(comparison.level, 2);
        assert_eq!(comparison.lost[0].case, "gone");
        assert_eq!(comparison.new, 1);
        let text = comparison.to_string();
        assert!(
            text.contains("slower 1.30 x cpu attention_decode F32 [slower]"),
            "{text}"
        );
    }

    #[test]
    fn what_the_others_took_changes_nothing() {
        let burns = |sample| vec![Record::Timed(timed("a", "Burn's", &[sample]))];
        assert!(Comparison::of(&burns(1.0), &burns(9.0), 0.05).is_empty());
    }
}
