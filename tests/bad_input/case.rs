use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, EncodedImage, Error, LoadOptions, MultimodalPipeline, Result};
use serde_json::Value;

use crate::support::{SafetensorsFile, copy_model, edit_json, model_folder};

/// How long a case may take. The slowest takes a second; the rest is for machines under load.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What fits a terminal and a line of a log.
const MAX_MESSAGE_BYTES: usize = 8 << 10;

/// The model that reads text only and lies in one file of weights.
pub(crate) const TEXT: &str = "dynamic_rope";

/// The model that sees.
pub(crate) const LLAVA: &str = "llava";

/// The model that cuts a picture into tiles.
pub(crate) const TILED: &str = "llava_next";

/// One bad input and the error it must give.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the message must name: a file, a field, a number.
    pub(crate) says: &'static str,
    /// What is done, in an empty folder.
    pub(crate) run: fn(&Path) -> Result<()>,
    pub(crate) is_expected: fn(&Error) -> bool,
    pub(crate) expected: &'static str,
}

impl Case {
    /// What is wrong with the outcome of the case, if anything is.
    pub(crate) fn failure(&self) -> Option<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (run, path) = (self.run, folder.path().to_path_buf());
        let (outcome, outcomes) = mpsc::channel();
        // A case that hangs keeps its thread; the test goes on and tells.
        thread::spawn(move || outcome.send(run(&path)));
        let found = match outcomes.recv_timeout(TIME_LIMIT) {
            Err(RecvTimeoutError::Timeout) => format!("nothing within {TIME_LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => "a panic".to_string(),
            Ok(Ok(())) => "no error".to_string(),
            Ok(Err(error)) if !(self.is_expected)(&error) => format!("{error:?}"),
            Ok(Err(error)) => return self.failure_of_message(&error.to_string()),
        };
        Some(format!(
            "{}: expected {}, found {found}",
            self.name, self.expected
        ))
    }

    fn failure_of_message(&self, message: &str) -> Option<String> {
        let is_shown = message.len() < MAX_MESSAGE_BYTES && !message.contains(char::is_control);
        let is_sentence = !message.ends_with('.') && message.len() > 15;
        let is_good = message.contains(self.says) && is_shown && is_sentence;
        (!is_good).then(|| format!("{}: says {message:?}, not {:?}", self.name, self.says))
    }
}

/// Opens the model in `folder`.
pub(crate) fn open<B: VlmBackend>(folder: &Path) -> Result<()> {
    MultimodalPipeline::<B>::open(folder, &LoadOptions::new()).map(drop)
}

/// Copies a sound model, damages it and opens it.
pub(crate) fn open_damaged<B: VlmBackend>(
    name: &str,
    folder: &Path,
    damage: impl FnOnce(&Path),
) -> Result<()> {
    copy_model(name, folder);
    damage(folder);
    open::<B>(folder)
}

/// Opens a model one field of whose `config.json`, given as a JSON pointer, has another value.
pub(crate) fn open_with_field<B: VlmBackend>(
    name: &str,
    folder: &Path,
    pointer: &str,
    value: Value,
) -> Result<()> {
    open_damaged::<B>(name, folder, |folder| {
        set(&folder.join("config.json"), pointer, value)
    })
}

/// Opens a model whose weights were taken apart and damaged.
pub(crate) fn open_with_weights<B: VlmBackend>(
    folder: &Path,
    damage: impl FnOnce(&mut SafetensorsFile),
) -> Result<()> {
    open_damaged::<B>(TEXT, folder, |folder| {
        let mut file = SafetensorsFile::read(&folder.join("model.safetensors"));
        damage(&mut file);
        file.write();
    })
}

/// Opens a model one of whose files holds something else.
pub(crate) fn open_with_file<B: VlmBackend>(
    name: &str,
    folder: &Path,
    file: &str,
    content: impl AsRef<[u8]>,
) -> Result<()> {
    open_damaged::<B>(name, folder, |folder| write(&folder.join(file), content))
}

/// Asks a sound model.
pub(crate) fn ask<B: VlmBackend>(name: &str, request: &AskRequest<EncodedImage<B>>) -> Result<()> {
    let pipeline = MultimodalPipeline::<B>::open(model_folder(name), &LoadOptions::new())?;
    pipeline.answer(request).map(drop)
}

/// Asks a model that opens although it is damaged.
pub(crate) fn ask_damaged<B: VlmBackend>(folder: &Path, question: &str) -> Result<()> {
    let pipeline = MultimodalPipeline::<B>::open(folder, &LoadOptions::new())
        .expect("the model opens; what is wrong shows later");
    pipeline.answer(&AskRequest::text(question)).map(drop)
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).expect("a temporary folder takes a file");
}

pub(crate) fn remove(path: &Path) {
    fs::remove_file(path).expect("the fixture has this file");
}

/// Sets the field of a JSON file that a JSON pointer names; a new one where its object is there.
pub(crate) fn set(path: &Path, pointer: &str, value: Value) {
    let (object, field) = pointer.rsplit_once('/').expect("a pointer has a slash");
    edit_json(path, |root| {
        let object = root
            .pointer_mut(object)
            .expect("the fixture has this object");
        object[field] = value;
    });
}

/// Removes a field of a JSON file.
pub(crate) fn unset(path: &Path, field: &str) {
    edit_json(path, |root| {
        let object = root.as_object_mut().expect("the fixture is sound");
        object.remove(field).expect("the fixture has this field");
    });
}
