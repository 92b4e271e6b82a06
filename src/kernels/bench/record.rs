//! What a run of the bench leaves behind: a JSON object a line, so that a run which is cut off is
//! worth what it reached.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Error as JsonError;

use crate::kernels::KERNEL;

/// A line of a file of results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Record {
    /// What was built, told first.
    Run {
        /// Versions of this crate and of what it stands on, by name.
        versions: BTreeMap<String, String>,
    },
    /// What a device is, and what it reaches.
    Device(DeviceRecord),
    /// Why there is no time.
    Failed(FailedRecord),
    /// A time.
    Timed(TimedRecord),
}

/// A device, and what it reaches without these kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// As the lines name it.
    pub device: String,
    /// What is known of it: its name, its driver, its threads.
    pub facts: BTreeMap<String, String>,
    /// Bytes that are read and written in a nanosecond.
    pub copy_gigabytes_per_second: Option<f64>,
    /// Operations of Burn's matrix product in a nanosecond, by type.
    pub matmul_gigaflops_per_second: BTreeMap<String, f64>,
}

/// A time of one way to solve a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedRecord {
    /// What was solved, where and by whom.
    #[serde(flatten)]
    pub what: Subject,
    /// The median of the samples.
    pub microseconds: f64,
    /// Bytes that must move, by the time.
    pub gigabytes_per_second: f64,
    /// Operations, by the time.
    pub gigaflops_per_second: f64,
    /// The part of what the device can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_of_limit: Option<f64>,
    /// What bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<LimitedBy>,
    /// Every sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples_microseconds: Vec<f64>,
}

/// Why there is no time of one way to solve a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// In words.
    pub error: String,
    /// What was to be solved, where and by whom.
    #[serde(flatten)]
    pub what: Subject,
}

/// A problem on a device, and who solves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// `cpu`, `cuda`.
    pub device: String,
    /// The operation.
    pub kernel: String,
    /// The problem.
    pub case: String,
    /// The type of the activations.
    pub dtype: String,
    /// [`KERNEL`], or whom it is compared with.
    pub by: String,
    /// How the other was set up, if there is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
}

/// What bounds a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitedBy {
    /// Copying what must move.
    Memory,
    /// Multiplying and adding.
    Arithmetic,
}

/// Why a file of results cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A line before the last is no record.
    #[error("line {line} is no record: {source}")]
    Damaged {
        /// From one.
        line: usize,
        /// What is wrong with it.
        source: JsonError,
    },
    /// Nothing was timed in it.
    #[error("it holds no times")]
    Empty,
}

impl Subject {
    /// The same problem solved by the kernel that it is about.
    pub(super) fn is_kernel(&self) -> bool {
        self.by == KERNEL
    }

    /// Whether both are of one problem.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let problem = |subject: &Self| {
            let Self {
                device,
                kernel,
                case,
                dtype,
                ..
            } = subject;
            [device, kernel, case, dtype].map(String::clone)
        };
        problem(self) == problem(other)
    }

    /// Whose time it is.
    pub(super) fn who(&self) -> String {
        match &self.settings {
            None => self.by.clone(),
            Some(settings) => format!("{}, {settings}", self.by),
        }
    }
}

impl Record {
    /// The problem, of a time or a failure.
    pub(super) fn what(&self) -> Option<&Subject> {
        match self {
            Self::Timed(timed) => Some(&timed.what),
            Self::Failed(failed) => Some(&failed.what),
            Self::Run { .. } | Self::Device(_) => None,
        }
    }

    /// The line of the file, without its end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("text and numbers are always JSON")
    }
}

/// Reads the lines of a file of results. The last one may be cut off; objects that are none of ours
/// are passed over.
///
/// # Errors
/// [`RecordError`] when another line is no JSON, or nothing was timed.
pub fn read_records(text: &str) -> Result<Vec<Record>, RecordError> {
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        match serde_json::from_str::<serde_json::Value>(line) {
            Ok(value) => records.extend(serde_json::from_value::<Record>(value)),
            Err(_) if line.trim().is_empty() || lines.peek().is_none() => {}
            Err(source) => {
                let line = index + 1;
                return Err(RecordError::Damaged { line, source });
            }
        }
    }
    let is_timed = |record: &Record| matches!(record, Record::Timed(_));
    match records.iter().any(is_timed) {
        true => Ok(records),
        false => Err(RecordError::Empty),
    }
}

/// Records of one problem together, in the order they were told in.
pub(super) fn problems(records: &[Record]) -> Vec<&[Record]> {
    let same = |a: &Record, b: &Record| match (a.what(), b.what()) {
        (Some(a), Some(b)) => a.is_beside(b),
        _ => false,
    };
    let groups = records.chunk_by(same);
    groups.filter(|group| group[0].what().is_some()).collect()
}

/// The middle one, or the higher of the two that are.
pub(super) fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5).unwrap_or(f64::NAN)
}

/// The number with so large a part of the others below it.
pub(super) fn quantile(numbers: &[f64], part: f64) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    Some(sorted[(last as f64 * part).round() as usize])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A time of the kernel, with samples around it.
    pub(in crate::kernels::bench) fn timed(case: &str, by: &str, samples: &[f64]) -> TimedRecord {
        TimedRecord {
            what: Subject {
                device: "cpu".to_string(),
                kernel: "attention_decode".to_string(),
                case: case.to_string(),
                dtype: "F32".to_string(),
                by: by.to_string(),
                settings: None,
            },
            microseconds: median(samples),
            gigabytes_per_second: 1.0,
            gigaflops_per_second: 2.0,
            share_of_limit: Some(0.5),
            limited_by: Some(LimitedBy::Memory),
            samples_microseconds: samples.to_vec(),
        }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let device = DeviceRecord {
            device: "cpu".to_string(),
            facts: BTreeMap::from([("name".to_string(), "a processor".to_string())]),
            copy_gigabytes_per_second: Some(10.5),
            matmul_gigaflops_per_second: BTreeMap::from([("F32".to_string(), 90.0)]),
        };
        let what = timed("second", KERNEL, &[1.0]).what;
        let error = "wrong".to_string();
        let records = vec![
            Record::Run {
                versions: BTreeMap::from([("burn".to_string(), "0.21.0".to_string())]),
            },
            Record::Device(device),
            Record::Timed(timed("first", KERNEL, &[1.0, 2.0, 3.0])),
            Record::Failed(FailedRecord { error, what }),
        ];
        let lines: Vec<_> = records.iter().map(Record::to_line).collect();
        let read = read_records(&lines.join("\n")).expect("it holds a time");
        assert_eq!(read, records);
    }

    #[test]
    fn a_file_that_was_cut_off_is_worth_what_it_reached() {
        let whole = Record::Timed(timed("first", KERNEL, &[1.0])).to_line();
        let cut = &whole[..whole.len() / 2];
        let read = read_records(&format!("{whole}\n{cut}")).expect("one line is whole");
        assert_eq!(read.len(), 1);
        let damaged = read_records(&format!("{cut}\n{whole}\n"));
        assert!(matches!(damaged, Err(RecordError::Damaged { line: 1, .. })));
        assert!(matches!(read_records(cut), Err(RecordError::Empty)));
    }

    #[test]
    fn a_line_of_a_peer_is_a_time_too() {
        let line = r#"{"kernel": "attention_decode", "case": "a", "dtype": "F16", "device": "cuda",
            "by": "PyTorch 2.9", "settings": "SDPA flash", "microseconds": 3.5,
            "gigabytes_per_second": 1.0, "gigaflops_per_second": 2.0}"#;
        let read = read_records(&line.replace('\n', " ")).expect("it is a time");
        let who = read[0].what().map(Subject::who);
        assert_eq!(who.as_deref(), Some("PyTorch 2.9, SDPA flash"));
    }
}
