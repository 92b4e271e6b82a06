use serde_json::{Value, json};

use super::*;
use crate::weights::test_files::{checkpoint_error, f32_safetensors, folder};

const A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn config(changes: &Value) -> String {
    let mut config = json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "fc1"],
        "base_model_name_or_path": "somebody/llama-13b", "inference_mode": true, "loftq_config": {},
    });
    let fields = config.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    config.to_string()
}

fn open_with(changes: &Value, tensors: &[(&str, &[usize])]) -> Result<Adapter> {
    let folder = folder(&[
        ("adapter_config.json", config(changes).as_bytes()),
        ("adapter_model.safetensors", &f32_safetensors(tensors)),
    ]);
    Adapter::open(folder.path(), 7)
}

fn open(changes: &Value) -> Result<Adapter> {
    open_with(changes, &[(A, &[4, 8]), (B, &[6, 4])])
}

fn scales(adapter: &Adapter) -> Vec<f32> {
    let scale = |rule: &KeyRule| match rule {
        KeyRule::LowRank { scale, .. } => *scale,
        other => panic!("{other:?}"),
    };
    adapter.rules.iter().map(scale).collect()
}

#[test]
fn factors_go_by_the_names_of_the_model_and_by_their_scale() {
    let adapter = open(&json!({})).unwrap();
    let names: Vec<&String> = adapter.tensors.keys().collect();
    let module = "model.layers.0.self_attn.q_proj";
    assert_eq!(
        names,
        [
            &format!("{module}.lora_A@7.weight"),
            &format!("{module}.lora_B@7.weight")
        ]
    );
    assert_eq!(scales(&adapter), [3.0]);
    assert_eq!(adapter.origin.base.as_deref(), Some("somebody/llama-13b"));
    let stable = open(&json!({ "use_rslora": true })).unwrap();
    assert_eq!(scales(&stable), [6.0]);
}

#[test]
fn patterns_give_modules_a_rank_and_an_alpha_of_their_own() {
    let tensors: [(&str, &[usize]); 4] = [
        (A, &[4, 8]),
        (B, &[6, 4]),
        (
            "base_model.model.model.layers.1.mlp.fc1.lora_A.weight",
            &[2, 8],
        ),
        (
            "base_model.model.model.layers.1.mlp.fc1.lora_B.weight",
            &[6, 2],
        ),
    ];
    let patterns =
        json!({ "rank_pattern": {"mlp.fc1": 2}, "alpha_pattern": {"^model.layers.1.mlp.fc1": 5} });
    let adapter = open_with(&patterns, &tensors).unwrap();
    let mut found = scales(&adapter);
    found.sort_by(f32::total_cmp);
    assert_eq!(found, [2.5, 3.0]);
    // A pattern of half a segment matches nothing.
    let other = json!({ "rank_pattern": {"lp.fc1": 2} });
    let error = checkpoint_error(open_with(&other, &tensors));
    assert!(error.to_string().contains("gives it the rank 4"), "{error}");
}

#[test]
fn a_rank_that_the_configuration_does_not_give_is_refused() {
    let error = checkpoint_error(open(&json!({ "r": 8 })));
    assert!(
        matches!(&error, CheckpointError::InvalidTensor { tensor, .. } if tensor == A),
        "{error}"
    );
}

#[test]
fn what_is_no_sum_of_products_is_refused_by_name() {
    for (changes, named) in [
        (json!({ "use_dora": true }), "use_dora"),
        (json!({ "peft_type": "LOHA" }), "LOHA"),
        (
            json!({ "layer_replication": [[0, 2]] }),
            "layer_replication",
        ),
        (
            json!({ "rank_pattern": {"layers\\.[01]": 2} }),
            "layers\\.[01]",
        ),
    ] {
        let error = checkpoint_error(open(&changes));
        assert!(
            matches!(error, CheckpointError::Unsupported { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(named), "{error}");
    }
    let vector = "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector";
    let error = checkpoint_error(open_with(&json!({}), &[(vector, &[6])]));
    assert!(
        matches!(error, CheckpointError::Unsupported { .. }),
        "{error}"
    );
}

#[test]
fn a_configuration_that_contradicts_itself_or_the_tensors_is_refused() {
    for (changes, named) in [
        (json!({ "r": 0, "rank_pattern": {} }), "the rank of"),
        (json!({ "r": "four" }), "invalid type"),
        (json!({ "bias": "some" }), "`bias` is `some`"),
        (json!({ "lora_alpha": 1e300 }), "alpha of"),
        (
            json!({ "target_modules": ["v_proj"] }),
            "no module of target_modules",
        ),
    ] {
        let error = checkpoint_error(open(&changes));
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn whole_tensors_come_along_where_the_configuration_says_so() {
    let head = ("base_model.model.score.weight", &[9, 8][..]);
    let bias = ("base_model.model.model.layers.0.mlp.fc1.bias", &[9][..]);
    let factors: [(&str, &[usize]); 2] = [(A, &[4, 8]), (B, &[6, 4])];
    for (tensor, allowed) in [
        (head, json!({ "modules_to_save": ["score"] })),
        (bias, json!({ "bias": "all" })),
    ] {
        let tensors = [&factors[..], &[tensor]].concat();
        let error = checkpoint_error(open_with(&json!({}), &tensors));
        assert!(error.to_string().contains("modules_to_save"), "{error}");
        let adapter = open_with(&allowed, &tensors).unwrap();
        let name = tensor.0.strip_prefix(PREFIX).unwrap();
        assert!(adapter.tensors.contains_key(name), "{name}");
    }
}

#[test]
fn a_folder_without_its_parts_is_no_adapter() {
    let empty = folder(&[]);
    let error = checkpoint_error(Adapter::open(empty.path(), 0));
    assert!(
        matches!(error, CheckpointError::NoAdapter { .. }),
        "{error}"
    );
    let alone = folder(&[("adapter_config.json", config(&json!({})).as_bytes())]);
    let error = checkpoint_error(Adapter::open(alone.path(), 0));
    assert!(error.to_string().contains("adapter_model.bin"), "{error}");
    let error = checkpoint_error(open_with(
        &json!({ "modules_to_save": ["x"] }),
        &[("base_model.model.x.weight", &[1])],
    ));
    assert!(error.to_string().contains("no factor of LoRA"), "{error}");
    let error = checkpoint_error(open_with(&json!({}), &[("model.x.weight", &[1])]));
    assert!(error.to_string().contains("base_model.model."), "{error}");
}
