//! What is told while it runs: rows, a bar, and lines of a file.

use std::fs::File;
use std::io::{Stdout, Write, stdout};
use std::path::Path;

use burn_vlm::kernels::bench::{BenchEvent, BenchReport, Record, table_head, table_row};
use indicatif::{ProgressBar, ProgressStyle};

/// Everything that was found out, told as it comes.
#[derive(Debug)]
pub(crate) struct Report {
    known: BenchReport,
    json: Option<Lines>,
    bar: ProgressBar,
    num_problems: usize,
    has_device: bool,
}

#[derive(Debug)]
enum Lines {
    Printed(Stdout),
    File(File),
}

impl Report {
    /// Lines go to a file, to the rows where it is called `-`, or nowhere.
    pub(crate) fn new(json: Option<&Path>) -> Result<Self, String> {
        let lines = |path: &Path| match path == Path::new("-") {
            true => Ok(Lines::Printed(stdout())),
            false => File::create(path)
                .map(Lines::File)
                .map_err(|error| format!("{}: {error}", path.display())),
        };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
        let bar = ProgressBar::no_length();
        bar.set_style(style.expect("the template names what there is"));
        Ok(Self {
            known: BenchReport::default(),
            json: json.map(lines).transpose()?,
            bar,
            num_problems: 0,
            has_device: false,
        })
    }

    pub(crate) fn tell(&mut self, event: BenchEvent<'_>) -> Result<(), String> {
        match event {
            BenchEvent::Begins {
                problem,
                index,
                total,
            } => {
                self.bar.set_length(total as u64);
                self.bar.set_position(index as u64);
                self.bar.set_message(problem.to_string());
                self.bar.tick();
                Ok(())
            }
            BenchEvent::Known(records) => self.add(records),
        }
    }

    /// Prints records of one problem and keeps them.
    pub(crate) fn add(&mut self, records: &[Record]) -> Result<(), String> {
        match records {
            [Record::Device(device)] => {
                self.has_device = true;
                self.bar
                    .suspend(|| println!("{device}\n\n{}", table_head()));
            }
            [Record::Run { .. }] | [] => {}
            problem => {
                self.num_problems += 1;
                self.bar.suspend(|| println!("{}", table_row(problem)));
            }
        }
        if let Some(lines) = &mut self.json {
            for record in records {
                lines
                    .write(&record.to_line())
                    .map_err(|error| format!("the results: {error}"))?;
            }
        }
        self.known.records.extend_from_slice(records);
        Ok(())
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.known.records
    }

    pub(crate) fn has_device(&self) -> bool {
        self.has_device
    }

    pub(crate) fn num_problems(&self) -> usize {
        self.num_problems
    }

    /// Kernels that failed or were wrong.
    pub(crate) fn num_failed(&self) -> usize {
        self.known.num_failed()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Lines {
    fn write(&mut self, line: &str) -> std::io::Result<()> {
        match self {
            Self::Printed(out) => writeln!(out, "{line}"),
            Self::File(file) => writeln!(file, "{line}"),
        }
    }
}
