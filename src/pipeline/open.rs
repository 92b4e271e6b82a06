//! From a folder to the parts of a pipeline.

use std::path::Path;

use burn::tensor::DType;

use super::adapters::{Adapters, Bare, OpenAdapter};
use super::load_options::LoadOptions;
use super::prompt::TextProcessor;
use super::question::QuestionReader;
use crate::error::{ConfigError, DeviceError, Result, visible, visible_line};
use crate::image::{ImageSize, PreprocessConfig};
use crate::kernels::VlmBackend;
use crate::models::{
    Family, ModelSource, ModelSpec, Processor, ProjectorConfig, VisionConfig, VisionLanguageModel,
    read_config,
};
use crate::nn::{Positions, RopeScaling};
use crate::text::{ChatTemplate, ConversationTemplate, TEMPLATES, Tokenizer};
use crate::weights::{Checkpoint, KeyMap, LoadReport, WeightOptions, load_module};

/// The folder in the model's folder that holds the tokenizer of a projector.
const QUESTION_TOKENIZER: &str = "qformer_tokenizer";

/// Where a processor keeps what it does, pictures and all.
const PROCESSOR: &str = "processor_config.json";
/// Where what prepares pictures kept it before that.
const OLDER: &str = "preprocessor_config.json";

/// Everything a pipeline needs of a model folder.
#[derive(Debug)]
pub(super) struct ModelParts<B: VlmBackend> {
    pub(super) spec: ModelSpec,
    pub(super) model: VisionLanguageModel<B>,
    pub(super) text_processor: TextProcessor,
    /// How pictures are prepared; `None` for a model that reads text only.
    pub(super) preprocess: Option<PreprocessConfig>,
    /// Tokens that a prompt and its answer may have together.
    pub(super) context_length: usize,
    pub(super) load_report: LoadReport,
    pub(super) adapters: Adapters<B>,
}

impl<B: VlmBackend> ModelParts<B> {
    /// Reads the small files first: what is wrong with them is told before the weights are read.
    pub(super) fn open(path: &Path, device: &B::Device, options: &LoadOptions) -> Result<Self> {
        if path.is_dir() {
            options.links.check(path)?;
        }
        let source = ModelSource::find(path, options.eyes.as_deref())?;
        let mut spec = source.spec()?;
        // What a YAML names is the user's own word; what its folders hold is not.
        options.links.check(&spec.files.text)?;
        let named = options.named_adapters.iter().map(|(_, folder)| folder);
        for adapter in options.adapters.iter().chain(named) {
            options.links.check(adapter)?;
        }
        apply::<B>(options, &mut spec, device)?;
        spec.config.require_affordable(options.size_allowance.0)?;
        let context_length = context_length(&spec, options)?;
        let text_processor = open_text_processor(&source, &spec)?;
        let preprocess = open_preprocess(&spec)?;
        if let Some(preprocess) = &preprocess {
            let max_tiles = preprocess.max_tiles();
            spec.config
                .require_affordable_tiles(max_tiles, options.size_allowance.0)?;
        }
        let mut checkpoint = open_weights(source, &mut spec, options)?;
        spec.config.settle_head(&checkpoint)?;
        for adapter in &options.adapters {
            checkpoint.add_adapter(adapter)?;
        }
        let named_adapters = OpenAdapter::open_named(options, &checkpoint)?;
        let (model, load_report) = load_weights(&checkpoint, &spec, device, options)?;
        warn_of_unused(path, &load_report);
        let bare = Bare {
            spec: &spec,
            model: &model,
            device,
            matrices: options.weights,
        };
        let adapters = Adapters::load(&named_adapters, &bare)?;
        Ok(Self {
            adapters,
            spec,
            model,
            text_processor,
            preprocess,
            context_length,
            load_report,
        })
    }
}

/// The model's own weights, or those that were saved of it, whose names are the paths of parameters.
fn open_weights(
    source: ModelSource,
    spec: &mut ModelSpec,
    options: &LoadOptions,
) -> Result<Checkpoint> {
    let Some(path) = &options.saved_weights else {
        return source.into_checkpoint(spec);
    };
    let named = options.named_adapters.iter().map(|(_, folder)| folder);
    if let Some(adapter) = options.adapters.iter().chain(named).next() {
        const SUPPORTED: &str = "adapters that are merged before the weights are saved";
        return Err(ConfigError::Unsupported {
            field: "adapter of saved weights".to_string(),
            found: adapter.display().to_string(),
            supported: vec![SUPPORTED.to_string()],
        }
        .into());
    }
    spec.config.key_map = KeyMap::default();
    Checkpoint::open_saved(path)
}

/// What the caller decides and no file says.
fn apply<B: VlmBackend>(
    options: &LoadOptions,
    spec: &mut ModelSpec,
    device: &B::Device,
) -> Result<()> {
    let decoder = &mut spec.config.decoder;
    if let Positions::Rotary(rope) = &mut decoder.positions {
        rope.precision = options.rope_precision;
    }
    decoder.compute = options.compute.dtype();
    decoder.cache = options.cache.unwrap_or(options.compute).dtype();
    require_type::<B>(device, decoder.compute, "activations")?;
    require_type::<B>(device, decoder.cache, "the KV cache")
}

fn require_type<B: VlmBackend>(
    device: &B::Device,
    dtype: DType,
    purpose: &'static str,
) -> Result<()> {
    match B::supports_dtype(device, dtype) {
        true => Ok(()),
        false => Err(DeviceError::UnsupportedType {
            purpose,
            dtype: dtype.name(),
        }
        .into()),
    }
}

/// The context of the model, the part of it that its parameters pay for, or what is asked for.
fn context_length(spec: &ModelSpec, options: &LoadOptions) -> Result<usize> {
    let config = &spec.config.decoder;
    let scaling = config.positions.rope().map(|rope| &rope.scaling);
    let stretch = match scaling {
        // These name the trained context and stretch it; the others name the stretched one.
        Some(RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. }) => {
            factor.max(1.0)
        }
        Some(RopeScaling::Default | RopeScaling::Llama3 { .. } | RopeScaling::Factors(_))
        | None => 1.0,
    };
    let longest = (config.max_position_embeddings as f64 * stretch) as usize;
    let affordable = spec.config.affordable_context(options.size_allowance.0);
    match options.context_length {
        None if longest > affordable => {
            log::warn!(
                "the context of {longest} tokens is cut to {affordable}, enough for a model of its size"
            );
            Ok(affordable)
        }
        None => Ok(longest),
        Some(asked) if (1..=longest).contains(&asked) => Ok(asked),
        Some(asked) => Err(ConfigError::OutOfRange {
            field: "context_length".to_string(),
            found: asked.to_string(),
            expected: format!("1 to {longest} tokens, which this checkpoint was made for"),
        }
        .into()),
    }
}

pub(super) fn open_text_processor(source: &ModelSource, spec: &ModelSpec) -> Result<TextProcessor> {
    let (mut tokenizer, chat_template) = match source {
        ModelSource::Files(_) => {
            let folder = &spec.files.text;
            let chat_template = ChatTemplate::open(folder, spec.config.vision.is_some())?;
            (Tokenizer::open(folder)?, chat_template)
        }
        ModelSource::Gguf(model) => {
            let template = model.chat_template().map(ChatTemplate::new);
            let tokenizer = Tokenizer::from_gguf(&model.vocabulary()?)?;
            (tokenizer, template.transpose()?)
        }
    };
    if let Some(vision) = &spec.config.vision
        && let Some(id) = vision.image_token_id
        && let Some(image_token) = tokenizer.token_text(id)
    {
        tokenizer = tokenizer.with_control_token(&image_token)?;
    }
    let named = TEMPLATES.iter().flat_map(ConversationTemplate::texts);
    let mut formats: Vec<&str> = named.collect();
    formats.extend(chat_template.as_ref().map(ChatTemplate::source));
    tokenizer = tokenizer.with_control_tokens_of(&formats)?;
    Ok(TextProcessor {
        tokenizer,
        chat_template,
        question_reader: open_question_reader(spec)?,
    })
}

/// The tokenizer of a projector that reads the question.
fn open_question_reader(spec: &ModelSpec) -> Result<Option<QuestionReader>> {
    let vision = spec.config.vision.as_ref();
    let Some(ProjectorConfig::QFormer(config)) = vision.map(|vision| &vision.projector) else {
        return Ok(None);
    };
    let open = |text| QuestionReader::open(&spec.files.text.join(QUESTION_TOKENIZER), text);
    config.text.as_ref().map(open).transpose()
}

/// How pictures are prepared; `None` for a model that reads text only.
pub(super) fn open_preprocess(spec: &ModelSpec) -> Result<Option<PreprocessConfig>> {
    let vision = spec.config.vision.as_ref();
    vision.map(|vision| preprocess_of(spec, vision)).transpose()
}

/// Reads how pictures are prepared, and checks that this gives what the encoder reads.
fn preprocess_of(spec: &ModelSpec, vision: &VisionConfig) -> Result<PreprocessConfig> {
    let folder = match &spec.files.processor {
        Processor::Folder(folder) => folder,
        Processor::Fixed(config) => return Ok(config.clone()),
    };
    let image_size = vision.encoder.image_size();
    let config = match read_preprocess(folder, spec.family.image_processor)? {
        Some(config) => config,
        None => usual_preparation(folder, spec.family, vision)?,
    };
    require_same_pinpoints(&config, vision)?;
    let found = config.output_size();
    match found.is_some_and(|size| [size.height, size.width] == [image_size; 2]) {
        true => Ok(config),
        false => Err(ConfigError::OutOfRange {
            field: "crop_size".to_string(),
            found: found.map_or("unset".to_string(), |s| {
                format!("{} x {}", s.height, s.width)
            }),
            expected: format!("{image_size} x {image_size}, the encoder's image_size"),
        }
        .into()),
    }
}

/// Where no file says how pictures are prepared: the way of all published models of the family, if
/// there is one.
fn usual_preparation(
    folder: &Path,
    family: &Family,
    vision: &VisionConfig,
) -> Result<PreprocessConfig> {
    let Some(usual) = family.usual_preparation else {
        return Err(ConfigError::MissingFile {
            folder: folder.to_path_buf(),
            looked_for: [OLDER, PROCESSOR].map(str::to_string).to_vec(),
            needed_for: "how pictures are prepared".to_string(),
        }
        .into());
    };
    log::warn!(
        "{}: no file says how pictures are prepared; the way of the published models of {} is taken",
        visible_line(folder),
        family.name
    );
    usual(vision)
}

/// What the files of a folder say of pictures, in the order of transformers 5: what a processor keeps
/// in its own file is what was saved last.
fn read_preprocess(folder: &Path, class: Option<&str>) -> Result<Option<PreprocessConfig>> {
    let older = read_config(folder, OLDER)?;
    let older = older.map(|bytes| PreprocessConfig::from_json(&folder.join(OLDER), &bytes, class));
    let found = match read_config(folder, PROCESSOR)? {
        Some(bytes) => {
            PreprocessConfig::from_processor_json(&folder.join(PROCESSOR), &bytes, class)?
        }
        None => None,
    };
    let Some(found) = found else {
        return older.transpose();
    };
    if older.is_some_and(|older| older.is_ok_and(|older| older != found)) {
        log::warn!(
            "{}: pictures are prepared as {PROCESSOR} says, and not as {OLDER}",
            visible_line(folder)
        );
    }
    Ok(Some(found))
}

/// A model reads its tiles by its own list of sizes, which has to be the one they are cut by.
fn require_same_pinpoints(config: &PreprocessConfig, vision: &VisionConfig) -> Result<()> {
    let written = |sizes: &[ImageSize]| {
        let sizes: Vec<_> = sizes.iter().map(|s| [s.height, s.width]).collect();
        format!("{sizes:?}")
    };
    let (found, expected) = (config.pinpoints(), vision.image_grid_pinpoints.as_slice());
    match found == expected {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange {
            field: "image_grid_pinpoints".to_string(),
            found: written(found),
            expected: format!("{}, as the model has them", written(expected)),
        }
        .into()),
    }
}

/// They may be left over from training, or say that the configuration is of another model.
fn warn_of_unused(folder: &Path, report: &LoadReport) {
    const LISTED: usize = 5;
    let names = report.unused.iter().take(LISTED);
    let names: Vec<_> = names.map(|u| visible(&u.tensor).to_string()).collect();
    if !names.is_empty() {
        let more = match report.unused.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        log::warn!(
            "{}: the model has no place for {}{more}; they are left out",
            visible_line(folder),
            names.join(", "),
        );
    }
}

fn load_weights<B: VlmBackend>(
    checkpoint: &Checkpoint,
    spec: &ModelSpec,
    device: &B::Device,
    options: &LoadOptions,
) -> Result<(VisionLanguageModel<B>, LoadReport)> {
    let weights = WeightOptions::default()
        .with_matrices(options.weights)
        .with_strictness(options.strictness);
    let model = spec.config.init::<B>(device);
    let Some(progress) = &options.progress else {
        return load_module(model, checkpoint, &spec.config.key_map, weights);
    };
    let mut progress = |step: crate::weights::LoadProgress<'_>| progress(step);
    load_module(
        model,
        checkpoint,
        &spec.config.key_map,
        weights.with_progress(&mut progress),
    )
}
