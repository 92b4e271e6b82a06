use std::fs;
use std::path::PathBuf;

use burn_vlm::backend::Cpu;
use burn_vlm::{AskRequest, LoadOptions, MultimodalPipeline};

use crate::random::Random;
use crate::settings;
use crate::support::{copy_model, model_folder, picture};
use crate::watch::{CaughtPanics, finding};

/// The files of a model folder that are damaged, one at a time.
#[derive(Clone, Copy)]
pub(crate) struct Files {
    pub(crate) model: &'static str,
    /// What their names end with.
    pub(crate) endings: &'static [&'static str],
    pub(crate) damage: Damage,
}

/// What is done to a file.
#[derive(Clone, Copy)]
pub(crate) enum Damage {
    /// To its bytes.
    Bytes,
    /// To the values that it states as JSON.
    Settings,
}

impl Files {
    fn list(self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(model_folder(self.model))
            .expect("the fixture is part of the repository")
            .map(|entry| entry.expect("a readable folder").path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                self.endings.iter().any(|ending| name.ends_with(ending))
            })
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{} has such files", self.model);
        files
    }

    /// A model with a damaged file opens, and then answers or fails; or it is refused.
    pub(crate) fn attempt(self, random: &mut Random) -> Option<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_model(self.model, folder.path());
        let files = self.list();
        let file = random.pick(&files);
        let mut bytes = fs::read(file).expect("the fixture has this file");
        let whole = bytes.clone();
        match self.damage {
            Damage::Bytes => random.damage(&mut bytes, std::slice::from_ref(&whole)),
            Damage::Settings => settings::damage(random, &mut bytes),
        }
        let name = file.file_name().expect("a file has a name");
        fs::write(folder.path().join(name), &bytes).expect("a temporary folder takes a file");
        finding(CaughtPanics::AreAllowed, move || {
            let opened = MultimodalPipeline::<Cpu>::open(folder.path(), &LoadOptions::new());
            let pipeline = match opened {
                Ok(pipeline) => pipeline,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let request = AskRequest::text("What is this?").max_new_tokens(2);
            let answers = [
                pipeline.answer(&request),
                pipeline.answer(&request.image(picture(7))),
            ];
            let errors = answers.into_iter().filter_map(Result::err);
            Ok(errors
                .map(|error| error.to_string())
                .max_by_key(String::len))
        })
    }
}
