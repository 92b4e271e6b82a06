//! Talk with a model about pictures. Each turn reads only what is new.
//!
//!     cargo run --release --example chat -- examples/demo/photo.png
//!
//! Lines come from the terminal or a pipe, a turn each; answers go to stdout, everything else to
//! stderr. `/help` lists the commands.

#[path = "common/answer.rs"]
mod answer;
#[path = "common/model.rs"]
mod model;
#[path = "common/pictures.rs"]
mod pictures;

use std::io::{self, BufRead, IsTerminal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn_vlm::{AnyEncodedImage, AnyPipeline, AnySession, AskRequest};
use clap::Parser;

use answer::AnswerArgs;
use model::ModelArgs;
use pictures::PictureArgs;

const HELP: &str = "\
/image PATH  show a picture with the next question
/undo        take the last question and its answer back; its pictures wait for the next
/clear       forget the conversation and its pictures
/quit        end; so does Ctrl-D
/help        this list";

/// Talks with a model about pictures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Pictures to show with the first question
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
    #[command(flatten)]
    pictures: PictureArgs,
    /// Compiles the kernels before the first question; a CPU has none to compile
    #[arg(long)]
    warm_up: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A flag that cannot be served is told now, not at the first question.
    let empty = AskRequest::<AnyEncodedImage>::new();
    arguments.answer.apply(empty, &arguments.model)?;
    let pipeline = arguments.model.open()?;
    if arguments.warm_up {
        eprintln!("{}", model::warm_up(&pipeline)?);
    }
    let mut chat = Chat::new(&pipeline, &arguments);
    for path in &arguments.images {
        chat.show(path)?;
    }
    eprintln!("{} · /help lists the commands", pipeline.device_name());
    let mut input = io::stdin().lock();
    while let Some(line) = read_line(&mut input)? {
        match chat.obey(&line) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            // Nobody reads the answers any more.
            Err(error) if error.is::<io::Error>() => return Err(error),
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
    Ok(())
}

/// The next line, without its end; `None` when there is none.
fn read_line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    if io::stdin().is_terminal() {
        eprint!("> ");
    }
    let mut line = Vec::new();
    let read_bytes = input
        .read_until(b'\n', &mut line)
        .context("cannot read the next line")?;
    Ok((read_bytes > 0).then(|| line.trim_ascii_end().to_vec()))
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Ok(std::ffi::OsStr::from_bytes(bytes).into())
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> Result<PathBuf> {
    let path = std::str::from_utf8(bytes).context("the path is not UTF-8")?;
    Ok(path.into())
}

/// A conversation and the pictures that wait for its next question.
struct Chat<'a> {
    pipeline: &'a AnyPipeline,
    arguments: &'a Arguments,
    session: AnySession,
    waiting: Vec<AnyEncodedImage>,
    /// The pictures of each question so far.
    shown: Vec<Vec<AnyEncodedImage>>,
}

impl<'a> Chat<'a> {
    fn new(pipeline: &'a AnyPipeline, arguments: &'a Arguments) -> Self {
        Self {
            pipeline,
            arguments,
            session: pipeline.session(),
            waiting: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// Does what a line says: a command, or a question.
    fn obey(&mut self, line: &[u8]) -> Result<ControlFlow<()>> {
        // The name of a file is bytes, and those of old archives are no UTF-8.
        if let Some(path) = line.strip_prefix(b"/image ".as_slice()) {
            self.show(&path_of(path.trim_ascii())?)?;
            return Ok(ControlFlow::Continue(()));
        }
        let line = std::str::from_utf8(line).context("the line is not UTF-8")?;
        let command = line.split(char::is_whitespace).next().unwrap_or(line);
        match command {
            "" if line.trim().is_empty() => {}
            "/quit" => return Ok(ControlFlow::Break(())),
            "/help" => eprintln!("{HELP}"),
            "/image" => bail!("/image needs the path of a picture"),
            "/undo" => self.undo(),
            "/clear" => self.clear(),
            unknown if unknown.starts_with('/') => {
                bail!("unknown command {unknown}: /help lists the commands")
            }
            _ => self.ask(line)?,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Encodes a picture at once, so that one that cannot be used never waits.
    fn show(&mut self, path: &Path) -> Result<()> {
        let image = self.pipeline.encode(&self.arguments.pictures.open(path)?);
        self.waiting
            .push(image.with_context(|| format!("{path:?}"))?);
        Ok(())
    }

    fn undo(&mut self) {
        match self.session.undo() {
            true => {
                let mut images = self.shown.pop().unwrap_or_default();
                images.append(&mut self.waiting);
                self.waiting = images;
                eprintln!("taken back");
            }
            false => eprintln!("nothing to take back"),
        }
    }

    fn clear(&mut self) {
        self.session = self.pipeline.session();
        self.waiting.clear();
        self.shown.clear();
        eprintln!("forgotten");
    }

    /// Asks; the pictures go on waiting where that fails.
    fn ask(&mut self, question: &str) -> Result<()> {
        let images = self.waiting.iter().cloned();
        let request = images
            .fold(AskRequest::new(), AskRequest::image)
            .user(question);
        let Arguments { answer, model, .. } = self.arguments;
        let mut stream = self.session.stream(&answer.apply(request, model)?)?;
        answer::print_pieces(&mut stream)?;
        answer::print_cost(&stream.finish()?);
        self.shown.push(std::mem::take(&mut self.waiting));
        Ok(())
    }
}
