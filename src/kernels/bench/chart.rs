//! Results as a picture: a bar a problem, up to the limit of the device.

use std::fmt::Write;

use super::record::{DeviceRecord, Record, TimedRecord, problems};
use super::table::{name, time};

const WIDTH: f64 = 960.0;
/// Where the bars begin, and where the limit is.
const BARS: [f64; 2] = [360.0, 720.0];
/// Where bars that pass the limit are cut off.
const END: f64 = 770.0;
const KERNEL_HEIGHT: f64 = 13.0;
const OTHER_HEIGHT: f64 = 6.0;
const GAP: f64 = 9.0;
const HEAD: f64 = 30.0;

/// Of the bars, in light and in dark: the kernel, then the others in their order.
const COLOURS: [[&str; 2]; 5] = [
    ["#0b6bcb", "#4ea1f5"],
    ["#c4720a", "#e3a04a"],
    ["#8b929a", "#7b838c"],
    ["#7a4fbf", "#a889e0"],
    ["#2f8f5b", "#5cc08c"],
];

/// Draws the problems of a run as SVG, by device and kernel. It brings its own background for light
/// and dark, so that it is readable wherever it is shown.
///
/// What no limit is known for, or nobody could solve, is not drawn.
pub fn chart(records: &[Record]) -> String {
    let mut chart = Chart::default();
    chart.legend(records);
    for device in devices(records) {
        chart.device(&device, records);
    }
    chart.finish()
}

#[derive(Default)]
struct Chart {
    body: String,
    /// What lies above the line of the limit.
    above: String,
    y: f64,
    /// Everyone whose times are drawn, the kernel first.
    names: Vec<String>,
}

impl Chart {
    fn legend(&mut self, records: &[Record]) {
        for timed in problems(records).into_iter().flat_map(drawn) {
            let name = legend_name(timed);
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        // The kernel first, and of the others those that are compared with most often are met first.
        self.names.sort_by_key(|name| name != "kernel");
        self.y = 28.0;
        let mut x = 20.0;
        for (index, name) in self.names.clone().iter().enumerate() {
            let class = class(index);
            self.rect([x, self.y - 9.0], [10.0, 10.0], &class);
            self.text([x + 15.0, self.y], "small", "start", name);
            x += 34.0 + 6.6 * name.chars().count() as f64;
        }
        self.y += 8.0;
    }

    fn device(&mut self, device: &str, records: &[Record]) {
        self.y += HEAD;
        let facts = records.iter().find_map(|record| match record {
            Record::Device(record) if record.device == device => Some(record),
            _ => None,
        });
        let title = facts.map_or(device.to_string(), DeviceRecord::to_string);
        let mut lines = wrapped(&title, 110).into_iter();
        self.text(
            [20.0, self.y],
            "head",
            "start",
            &lines.next().unwrap_or_default(),
        );
        for line in lines {
            self.y += 16.0;
            self.text([20.0, self.y], "head", "start", &line);
        }
        self.y += 16.0;
        let (top, mut kernel) = (self.y, String::new());
        let of_device = problems(records).into_iter().map(drawn);
        for problem in
            of_device.filter(|timed| timed.first().is_some_and(|t| t.what.device == device))
        {
            if problem[0].what.kernel != kernel {
                kernel.clone_from(&problem[0].what.kernel);
                self.y += 26.0;
                self.text([20.0, self.y], "kernel", "start", &kernel);
                self.y += 8.0;
            }
            self.problem(&problem);
        }
        let x = BARS[1];
        let bottom = self.y;
        writeln!(
            self.body,
            r#"<path class="limit" d="M{x} {top}V{bottom}"/>"#
        )
        .expect("a String takes all");
        self.body.push_str(&std::mem::take(&mut self.above));
        self.text([x, top - 2.0], "small", "middle", "limit");
        self.y += 12.0;
    }

    fn problem(&mut self, problem: &[&TimedRecord]) {
        let what = &problem[0].what;
        let label = shortened(&format!("{} · {}", what.case, what.dtype), 52);
        self.text([BARS[0] - 10.0, self.y + 11.0], "small", "end", &label);
        for (index, timed) in problem.iter().enumerate() {
            let height = if index == 0 {
                KERNEL_HEIGHT
            } else {
                OTHER_HEIGHT
            };
            let full = (BARS[1] - BARS[0]) * timed.share_of_limit.unwrap_or(0.0);
            let width = full.clamp(1.0, END - BARS[0]);
            let place = self
                .names
                .iter()
                .position(|name| *name == legend_name(timed));
            self.rect(
                [BARS[0], self.y],
                [width, height],
                &class(place.unwrap_or(0)),
            );
            if index == 0 {
                let at = [BARS[0] + width.max(1.0) + 6.0, self.y + 11.0];
                let text = described(timed);
                self.on_background(at, &text);
            }
            self.y += height + 1.0;
        }
        self.y += GAP;
    }

    /// Text that the line of the limit passes under.
    fn on_background(&mut self, [x, y]: [f64; 2], text: &str) {
        let width = 6.4 * text.chars().count() as f64;
        let body = std::mem::take(&mut self.body);
        self.rect([x - 2.0, y - 10.0], [width + 4.0, 13.0], "ground");
        self.text([x, y], "small", "start", text);
        self.above
            .push_str(&std::mem::replace(&mut self.body, body));
    }

    fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], class: &str) {
        writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        )
        .expect("a String takes all");
    }

    fn text(&mut self, [x, y]: [f64; 2], class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        writeln!(
            self.body,
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        )
        .expect("a String takes all");
    }

    fn finish(self) -> String {
        let height = self.y + 12.0;
        let colours = |scheme: usize| -> String {
            let [ground, ink] = [["#ffffff", "#1f2328"], ["#0d1117", "#e6edf3"]][scheme];
            let bars = COLOURS.iter().enumerate();
            let bars: String = bars
                .map(|(index, colours)| format!(".{}{{fill:{}}}", class(index), colours[scheme]))
                .collect();
            format!(".ground{{fill:{ground}}}text{{fill:{ink}}}.limit{{stroke:{ink}}}{bars}")
        };
        let [light, dark] = [0, 1].map(colours);
        let body = self.body;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="Share of the device's limit that each kernel reaches">
<style>text{{font-family:system-ui,"Segoe UI","DejaVu Sans",sans-serif;font-size:11px}}.head{{font-size:13px;font-weight:600}}.kernel{{font-size:12px;font-weight:600}}.limit{{stroke-width:1;stroke-dasharray:4 3;fill:none}}{light}@media(prefers-color-scheme:dark){{{dark}}}</style>
<rect class="ground" width="{WIDTH}" height="{height:.0}"/>
{body}</svg>
"#
        )
    }
}

/// Device names, in their order.
fn devices(records: &[Record]) -> Vec<String> {
    let mut names = Vec::new();
    for timed in problems(records).into_iter().flat_map(drawn) {
        if !names.contains(&timed.what.device) {
            names.push(timed.what.device.clone());
        }
    }
    names
}

/// The times of a problem that have a bar; none where the kernel has none.
fn drawn(problem: &[Record]) -> Vec<&TimedRecord> {
    let timed = problem.iter().filter_map(|record| match record {
        Record::Timed(timed) if timed.share_of_limit.is_some() => Some(timed),
        _ => None,
    });
    let timed: Vec<_> = timed.collect();
    match timed.first() {
        Some(first) if first.what.is_kernel() => timed,
        _ => vec![],
    }
}

/// All that Burn has of its own is one entry of the legend.
fn legend_name(timed: &TimedRecord) -> String {
    let who = timed.what.who();
    match who.split_once("'s ") {
        Some((owner, _)) => format!("{owner}'s own operation"),
        None => who,
    }
}

fn class(index: usize) -> String {
    format!("by{}", index % COLOURS.len())
}

/// `41.0 us, 88 % of memory`
fn described(timed: &TimedRecord) -> String {
    let share = timed.share_of_limit.zip(timed.limited_by);
    let share = share.map(|(share, by)| format!(", {:.0} % {}", 100.0 * share, name(by)));
    format!("{}{}", time(timed.microseconds), share.unwrap_or_default())
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// Lines of about so many characters, broken between words.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() || line.chars().count() + word.chars().count() < most {
                let space = if line.is_empty() { "" } else { " " };
                write!(line, "{space}{word}").expect("a String takes all");
            } else {
                lines.push(word.to_string());
            }
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::timed;
    use super::*;
    use crate::kernels::KERNEL;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let records = [
            Record::Timed(timed("1x576->33 & <more>", KERNEL, &[10.0])),
            Record::Timed(timed("1x576->33 & <more>", "Burn's attention", &[25.0])),
        ];
        let picture = chart(&records);
        let half = (BARS[1] - BARS[0]) / 2.0;
        assert!(
            picture.contains(&format!(r#"width="{half:.1}""#)),
            "{picture}"
        );
        assert!(picture.contains("10.0 us, 50 % memory"), "{picture}");
        assert!(
            picture.contains("1x576-&gt;33 &amp; &lt;more&gt; · F32"),
            "{picture}"
        );
        assert!(picture.contains("prefers-color-scheme:dark"), "{picture}");
        assert!(picture.contains("Burn's own operation"), "{picture}");
    }

    #[test]
    fn what_passes_the_limit_is_cut_off() {
        let mut fast = timed("in a cache", KERNEL, &[1.0]);
        fast.share_of_limit = Some(40.0);
        let picture = chart(&[Record::Timed(fast)]);
        let widest = END - BARS[0];
        assert!(
            picture.contains(&format!(r#"width="{widest:.1}""#)),
            "{picture}"
        );
        assert!(picture.contains("4000 % memory"), "{picture}");
    }
}
