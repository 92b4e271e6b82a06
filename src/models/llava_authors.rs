//! LLaVA-1.5 and LLaVA-NeXT in the layout of their authors: the folder of a Llama or Mistral with the
//! projector in its files, and the eyes in a folder of their own.
//!
//! In that layout a model names its eyes by where they were downloaded from. Here their folder lies
//! inside the model's own, under the last part of that name.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::generation_config::GenerationConfig;
use super::llama::{GATE_UP, QKV};
use super::model_file::read_object;
use super::model_files::{ModelFiles, Processor};
use super::{ModelConfig, ModelSpec, llava, llava_next};
use crate::error::Result;
use crate::image::PreprocessConfig;
use crate::weights::{CheckpointPart, KeyRule};

/// The field that no other layout has: where the eyes were downloaded from.
const TOWER: &str = "mm_vision_tower";

/// What the names of the eyes begin with where the model's own files hold them.
const TOWER_PREFIX: &str = "model.vision_tower.vision_tower.";

/// What a picture that is no square becomes.
const ASPECT_RATIO: &str = "image_aspect_ratio";

const PINPOINTS: &str = "image_grid_pinpoints";

/// The eyes of all published models, whose configuration is Hugging Face's default.
const USUAL_TOWER: &str = "clip-vit-large-patch14-336";

const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::ignore_suffix("embeddings.position_ids"),
    KeyRule::ignore_part("post_layernorm."),
    // The other half of CLIP, which reads text.
    KeyRule::ignore_prefix("model.vision_tower.vision_tower.text_model."),
    KeyRule::ignore_prefix("model.vision_tower.vision_tower.text_projection."),
    KeyRule::ignore_prefix("model.vision_tower.vision_tower.visual_projection."),
    KeyRule::ignore_prefix("model.vision_tower.vision_tower.logit_scale"),
    KeyRule::reshape_suffix("patch_embedding.weight"),
    KeyRule::rename_prefix(
        "model.vision_tower.vision_tower.vision_model.",
        "visual_encoder.",
    ),
    KeyRule::rename_prefix("model.mm_projector.0.", "projector.linear_1."),
    KeyRule::rename_prefix("model.mm_projector.2.", "projector.linear_2."),
    KeyRule::rename_prefix("model.image_newline", "image_newline"),
    KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    KeyRule::rename_prefix("model.", "decoder."),
    QKV,
    GATE_UP,
];

/// The model of a folder in this layout, or `None` if it is in another.
///
/// # Errors
///
/// [`ConfigError`](crate::ConfigError) when a field is out of range or means what is not implemented,
/// or when there are no eyes.
pub(super) fn read(folder: &Path, object: &Map<String, Value>) -> Result<Option<ModelSpec>> {
    let fields = Fields::new(object);
    let Some(named) = fields.text(TOWER)? else {
        return Ok(None);
    };
    let tower = Tower::find(&fields, folder, named)?;
    let is_cut = is_cut(&fields)?;
    let config = config(&as_hugging_face(&fields, object, &tower)?, is_cut)?;
    Ok(Some(ModelSpec {
        family: match is_cut {
            true => &llava_next::FAMILY,
            false => &llava::FAMILY,
        },
        files: ModelFiles {
            text: folder.to_path_buf(),
            weights: tower.weights(folder),
            processor: processor(&fields, &config, folder)?,
        },
        config,
        generation: GenerationConfig::default(),
    }))
}

/// The eyes.
struct Tower {
    /// Their folder, if there is one.
    folder: Option<PathBuf>,
    /// Their configuration, where that folder holds it.
    config: Option<Value>,
    /// Whether the model's own files hold their weights, because they were trained on.
    is_in_model: bool,
}

impl Tower {
    fn find(fields: &Fields<'_>, folder: &Path, named: &str) -> Result<Self> {
        let name = named.trim_end_matches('/').rsplit('/').next();
        let name = name.filter(|name| !matches!(*name, "" | "." | ".."));
        let name = name.unwrap_or(USUAL_TOWER);
        let own = Some(folder.join(name)).filter(|own| own.is_dir());
        let config = match &own {
            Some(own) => read_object(own, "config.json")?,
            None => None,
        };
        let is_in_model = fields.flag("unfreeze_mm_vision_tower")? == Some(true);
        if config.is_none() && !(is_in_model && name == USUAL_TOWER) {
            let supported = vec![
                format!(
                    "a folder {name} with its config.json and weights inside the model's folder"
                ),
                "the same model as llava-hf keeps it, a LlavaForConditionalGeneration".to_string(),
            ];
            return Err(fields.unsupported(TOWER, named, supported));
        }
        Ok(Self {
            // CLIP as a whole keeps them in a part of its own.
            config: config.map(|mut config| match config.remove("vision_config") {
                Some(eyes) => eyes,
                None => Value::Object(config),
            }),
            folder: own,
            is_in_model,
        })
    }

    /// What holds the weights: those of the model's own files count.
    fn weights(&self, model: &Path) -> Vec<CheckpointPart> {
        let own = self.folder.iter().filter(|_| !self.is_in_model);
        let parts = own.map(|folder| (folder.clone(), TOWER_PREFIX));
        let parts = parts.chain([(model.to_path_buf(), "")]);
        parts
            .map(|(path, prefix)| CheckpointPart { path, prefix })
            .collect()
    }
}

/// Whether pictures are cut into tiles.
fn is_cut(fields: &Fields<'_>) -> Result<bool> {
    let is_cut = fields.choice(
        "mm_patch_merge_type",
        false,
        &[("flat", false), ("spatial_unpad", true)],
    )?;
    if is_cut {
        fields.choice(ASPECT_RATIO, (), &[("anyres", ())])?;
    }
    Ok(is_cut)
}

/// The configuration in the words of Hugging Face.
fn as_hugging_face(
    fields: &Fields<'_>,
    object: &Map<String, Value>,
    tower: &Tower,
) -> Result<Map<String, Value>> {
    require_mlp(fields)?;
    let decoder = fields.choice(
        "model_type",
        "llama",
        &[
            ("llava", "llama"),
            ("llava_llama", "llama"),
            ("llava_mistral", "mistral"),
        ],
    )?;
    let strategy = fields.choice(
        "mm_vision_select_feature",
        "default",
        &[("patch", "default"), ("cls_patch", "full")],
    )?;
    let mut text = object.clone();
    text.insert("model_type".to_string(), json!(decoder));
    let mut whole = Map::new();
    let mut set = |name: &str, value: Value| whole.insert(name.to_string(), value);
    set("text_config", Value::Object(text));
    set("vision_feature_select_strategy", json!(strategy));
    if let Some(layer) = fields.value("mm_vision_select_layer") {
        set("vision_feature_layer", layer.clone());
    }
    if let Some(config) = &tower.config {
        set("vision_config", config.clone());
    }
    if let Some(sizes) = fields.value(PINPOINTS) {
        set(PINPOINTS, heights_first(sizes));
    }
    Ok(whole)
}

fn require_mlp(fields: &Fields<'_>) -> Result<()> {
    let (name, known) = ("mm_projector_type", "mlp2x_gelu");
    // Without it the projector is one linear layer, as in the first LLaVA.
    let found = fields.text(name)?.unwrap_or("linear");
    if found != known {
        return Err(fields.unsupported(name, found, vec![known.to_string()]));
    }
    let name = "mm_use_im_start_end";
    match fields.flag(name)? {
        Some(true) => Err(fields.unsupported(name, true, vec![false.to_string()])),
        Some(false) | None => Ok(()),
    }
}

/// Sizes whose widths go first, the other way round; what is none stays, to be refused as it is.
fn heights_first(sizes: &Value) -> Value {
    let swapped = |size: &Value| match size.as_array().map(Vec::as_slice) {
        Some([width, height]) => json!([height, width]),
        _ => size.clone(),
    };
    match sizes {
        Value::Array(sizes) => sizes.iter().map(swapped).collect(),
        other => other.clone(),
    }
}

fn config(object: &Map<String, Value>, is_cut: bool) -> Result<ModelConfig> {
    let fields = Fields::new(object);
    let mut config = llava::parse_named(&fields, KEYS)?;
    if is_cut {
        config = llava_next::over_tiles(&fields, config)?;
    }
    // The words are cut where a picture is; no token stands for it.
    if let Some(vision) = &mut config.vision {
        vision.image_token_id = None;
    }
    Ok(config)
}

/// How pictures are prepared, which the authors' code decides by one word.
fn processor(fields: &Fields<'_>, config: &ModelConfig, folder: &Path) -> Result<Processor> {
    let Some(vision) = &config.vision else {
        return Ok(Processor::Folder(folder.to_path_buf()));
    };
    let size = vision.encoder.image_size();
    Ok(Processor::Fixed(
        match vision.image_grid_pinpoints.as_slice() {
            [] => match fields.choice(ASPECT_RATIO, false, &[("square", false), ("pad", true)])? {
                true => PreprocessConfig::clip(size)?.with_square_padding(),
                false => PreprocessConfig::clip(size)?,
            },
            pinpoints => PreprocessConfig::any_resolution(size, pinpoints)?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: Value) -> Option<ModelSpec> {
        let object = json.as_object().expect("an object");
        read(Path::new("nowhere"), object).expect("a sound configuration")
    }

    #[test]
    fn a_model_that_is_cut_has_its_eyes_in_its_own_files_and_writes_widths_first() {
        let spec = spec(json!({
            "model_type": "llava_mistral",
            "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "unfreeze_mm_vision_tower": true,
            "mm_projector_type": "mlp2x_gelu",
            "mm_patch_merge_type": "spatial_unpad",
            "image_aspect_ratio": "anyres",
            "image_grid_pinpoints": [[336, 672], [1008, 336]],
        }));
        let spec = spec.expect("it names its eyes");
        assert_eq!(spec.family.name, "llava-next");
        assert_eq!(spec.config.decoder.layer.sliding_window, Some(4096));
        let parts = { spec.files.weights.iter() }.map(|part| (part.path.as_path(), part.prefix));
        assert!(parts.eq([(Path::new("nowhere"), "")]));
        let vision = spec.config.vision.as_ref().expect("it sees");
        let sizes = vision.image_grid_pinpoints.iter();
        let sizes = sizes.map(|size| [size.height, size.width]);
        assert!(sizes.eq([[672, 336], [336, 1008]]));
        assert_eq!(vision.encoder.image_size(), 336);
        for (name, path) in [
            ("model.image_newline", "projector.image_newline"),
            ("model.mm_projector.2.bias", "projector.mlp.linear_2.bias"),
            ("model.norm.weight", "decoder.norm.weight"),
            (
                "model.vision_tower.vision_tower.vision_model.pre_layrnorm.bias",
                "visual_encoder.pre_layrnorm.bias",
            ),
        ] {
            assert_eq!(spec.config.key_map.path(name).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_names_no_eyes_is_of_another_layout() {
        assert!(spec(json!({"model_type": "llava", "mm_vision_tower": null})).is_none());
    }
}
