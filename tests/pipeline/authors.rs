//! LLaVA-NeXT in the layout of its authors answers as the same model in Hugging Face's.

use std::fs;
use std::path::Path;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{LoadOptions, MultimodalPipeline, PromptTokens};
use serde_json::{Map, Value, json};

use crate::decoding::{Case, assert_same_logits};
use crate::fixture::open_fixture;
use crate::reference::Fixture;
use crate::support::{SafetensorsFile, copy_model, model_folder};

laws![
    tiles_over_llama_with_the_eyes_in_the_models_own_files,
    tiles_over_mistral_with_the_eyes_beside_them,
];

const TOWER: &str = "clip-vit-tiny";
const FILE: &str = "model.safetensors";

/// What the eyes are called in the files of Hugging Face.
const EYES: &str = "vision_tower.";

/// A model of Hugging Face in both layouts.
struct Layouts {
    fixture: &'static str,
    model_type: &'static str,
    /// What the authors' prompts are written by.
    template: &'static str,
    /// The same, as Hugging Face's chat template. The authors make a text of its own of what stands
    /// behind a picture, which begins with a space then.
    with_spaces: &'static str,
    /// Whether the eyes were trained on, so that the model's own files hold them.
    is_tower_trained: bool,
}

impl Layouts {
    fn write_authors(&self, folder: &Path) -> Result<()> {
        let model = model_folder(self.fixture);
        let words = model_folder("llava_authors").join("tokenizer.model");
        fs::copy(words, folder.join("tokenizer.model"))?;
        let config: Value = serde_json::from_slice(&fs::read(model.join("config.json"))?)?;
        let tower = folder.join(TOWER);
        fs::create_dir(&tower)?;
        let whole = json!({"model_type": "clip", "vision_config": config["vision_config"]});
        fs::write(tower.join("config.json"), whole.to_string())?;
        let own = self.config(&config).to_string();
        fs::write(folder.join("config.json"), own)?;
        fs::copy(model.join(FILE), folder.join(FILE))?;
        if !self.is_tower_trained {
            fs::copy(model.join(FILE), tower.join(FILE))?;
            keep(&tower.join(FILE), |name| {
                Some(format!("vision_model.{}", name.strip_prefix(EYES)?))
            });
        }
        keep(&folder.join(FILE), |name| self.name(name));
        Ok(())
    }

    fn config(&self, config: &Value) -> Value {
        let swapped = |size: &Value| json!([size[1], size[0]]);
        let sizes = config["image_grid_pinpoints"].as_array();
        let sizes: Vec<Value> = sizes.into_iter().flatten().map(swapped).collect();
        let mut own = config["text_config"].clone();
        for (name, value) in [
            ("model_type", json!(self.model_type)),
            ("mm_vision_tower", json!(format!("someone/{TOWER}"))),
            (
                "mm_vision_select_layer",
                config["vision_feature_layer"].clone(),
            ),
            ("mm_vision_select_feature", json!("patch")),
            ("mm_projector_type", json!("mlp2x_gelu")),
            ("mm_patch_merge_type", json!("spatial_unpad")),
            ("mm_use_im_start_end", json!(false)),
            ("image_aspect_ratio", json!("anyres")),
            ("image_grid_pinpoints", json!(sizes)),
            ("unfreeze_mm_vision_tower", json!(self.is_tower_trained)),
        ] {
            own[name] = value;
        }
        own
    }

    /// What the authors call a tensor; `None` for one of another file.
    fn name(&self, name: &str) -> Option<String> {
        if let Some(eyes) = name.strip_prefix(EYES) {
            let inside = format!("model.vision_tower.vision_tower.vision_model.{eyes}");
            return self.is_tower_trained.then_some(inside);
        }
        let name = name
            .replace("language_model.", "")
            .replace("multi_modal_projector.linear_1.", "model.mm_projector.0.")
            .replace("multi_modal_projector.linear_2.", "model.mm_projector.2.");
        match name.as_str() {
            "image_newline" => Some("model.image_newline".to_string()),
            _ => Some(name),
        }
    }

    /// The same prompt in the other layout.
    fn write_hugging_face(&self, folder: &Path) -> Result<()> {
        copy_model(self.fixture, folder);
        fs::write(folder.join("chat_template.jinja"), self.with_spaces)?;
        Ok(())
    }

    fn check<B: VlmBackend>(&self) -> Result<()> {
        let [ours, theirs] = [tempfile::tempdir()?, tempfile::tempdir()?];
        self.write_authors(ours.path())?;
        self.write_hugging_face(theirs.path())?;
        let fixture = open_fixture(self.fixture)?;
        let open = |folder: &Path| MultimodalPipeline::<B>::open(folder, &LoadOptions::new());
        let (ours, theirs) = (open(ours.path())?, open(theirs.path())?);
        assert_eq!(ours.spec().family.name, "llava-next");
        assert!(ours.load_report().unused.is_empty());
        let ours = Asked::of(ours, self.template, &fixture)?;
        let theirs = Asked::of(theirs, "chat_template", &fixture)?;
        assert_eq!(ours.prompt.image_spans, theirs.prompt.image_spans);
        assert_eq!(text_ids(&ours.prompt), text_ids(&theirs.prompt));
        assert_same_logits(self.fixture, &ours.logits, &theirs.logits, ours.vocab_size);
        assert_eq!(ours.answer, theirs.answer);
        // But for the spaces it is what the reference was asked.
        let num_spaces = ours.prompt.ids.len() - fixture.ids::<u32>("prompt_ids")?.len();
        assert_eq!(num_spaces, fixture.images.len());
        Ok(())
    }
}

/// A question with pictures, and what became of it.
struct Asked {
    prompt: PromptTokens,
    logits: Vec<f32>,
    vocab_size: usize,
    answer: Vec<u32>,
}

impl Asked {
    fn of<B: VlmBackend>(
        pipeline: MultimodalPipeline<B>,
        template: &str,
        fixture: &Fixture,
    ) -> Result<Self> {
        let images = fixture.images.iter().map(|image| pipeline.encode(image));
        let images = images.collect::<burn_vlm::Result<Vec<_>>>()?;
        let request = fixture.request(&images).template(template);
        let answer = pipeline.answer(&request)?.token_ids;
        let case = Case::new(pipeline, &request, &images)?;
        Ok(Self {
            prompt: case.pipeline.prompt(&request)?,
            logits: case.whole(&case.input)?,
            vocab_size: case.vocab_size(),
            answer,
        })
    }
}

/// The ids outside of pictures: what stands for a row is no matter.
fn text_ids(prompt: &PromptTokens) -> Vec<u32> {
    let spans = &prompt.image_spans;
    let is_text = |place: &usize| !spans.iter().any(|span| span.range().contains(place));
    let places = (0..prompt.ids.len()).filter(is_text);
    places.map(|place| prompt.ids[place]).collect()
}

/// Writes a file anew with the tensors that `rename` has a name for.
fn keep(path: &Path, rename: impl Fn(&str) -> Option<String>) {
    let whole = SafetensorsFile::read(path);
    let mut file = SafetensorsFile::read(path);
    file.header = Map::new();
    file.data.clear();
    for (name, entry) in &whole.header {
        if let Some(renamed) = rename(name).filter(|_| name != "__metadata__") {
            let sides = entry["shape"].as_array().into_iter().flatten();
            let shape: Vec<usize> = sides
                .filter_map(|side| Some(side.as_u64()? as usize))
                .collect();
            let dtype = entry["dtype"].as_str().unwrap_or_default();
            file.push(&renamed, dtype, &shape, &whole.data[whole.range(name)]);
        }
    }
    file.write();
}

fn tiles_over_llama_with_the_eyes_in_the_models_own_files<B: VlmBackend>() -> Result<()> {
    let layouts = Layouts {
        fixture: "llava_next",
        model_type: "llava_llama",
        template: "vicuna_v1.1",
        with_spaces: "A chat between a curious user and an artificial intelligence assistant. The \
            assistant gives helpful, detailed, and polite answers to the user's questions. \
            {% for message in messages %}USER: {% for part in message['content'] %}\
            {{ '<image> \\n' if part['type'] == 'image' else part['text'] }}{% endfor %}\
            {% endfor %} ASSISTANT:",
        is_tower_trained: true,
    };
    layouts.check::<B>()
}

fn tiles_over_mistral_with_the_eyes_beside_them<B: VlmBackend>() -> Result<()> {
    let layouts = Layouts {
        fixture: "llava_next_mistral",
        model_type: "llava_mistral",
        template: "mistral",
        with_spaces: "{% for message in messages %}[INST] {% for part in message['content'] %}\
            {{ '<image> \\n' if part['type'] == 'image' else part['text'] }}{% endfor %} [/INST]\
            {% endfor %}",
        is_tower_trained: false,
    };
    layouts.check::<B>()
}
