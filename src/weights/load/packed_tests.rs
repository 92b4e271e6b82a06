//! Matrices that are packed while they are loaded.

use std::path::{Path, PathBuf};

use burn::module::{Module, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor};
use burn_flex::Flex;
use serde_json::Value;

use super::*;
use crate::error::CheckpointError;
use crate::kernels::{MatrixTensor, PackedMatrix};
use crate::weights::apart::load_apart;
use crate::weights::element::WeightType;
use crate::weights::key_rule::{KeyPattern, KeyRule};
use crate::weights::matrix_type::MatrixType;
use crate::weights::test_files::{checkpoint_error, f32_safetensors, folder, typed_safetensors};

/// What the loader knows as a matrix, by its name.
#[derive(Module, Debug)]
struct Weight<B: Backend> {
    numbers: Param<Tensor<B, 2>>,
    codes: Param<Tensor<B, 2, Int>>,
}

impl Weight<Flex> {
    fn of([rows, columns]: [usize; 2]) -> Self {
        let device = Default::default();
        let codes = Tensor::empty([rows, 0], (&device, DType::U32));
        Self {
            numbers: Param::initialized(ParamId::new(), Tensor::zeros([rows, columns], &device)),
            codes: Param::initialized(ParamId::new(), codes),
        }
    }

    fn packed_type(&self) -> PackedType {
        let MatrixTensor::<Flex>::Packed(packed) = self.matrix() else {
            panic!("no codes")
        };
        let codes = packed.codes.into_primitive();
        PackedMatrix::new(codes, crate::kernels::primitive(packed.numbers)).packed_type()
    }

    fn matrix(&self) -> MatrixTensor<Flex> {
        let [_, words] = self.codes.val().dims();
        match words {
            0 => MatrixTensor::Float(self.numbers.val()),
            _ => MatrixTensor::Packed(PackedMatrix::new(self.codes.val(), self.numbers.val())),
        }
    }

    fn values(&self) -> Vec<f32> {
        let numbers = self.matrix().widened().cast(DType::F32);
        numbers.into_data().to_vec().unwrap()
    }
}

#[derive(Module, Debug)]
struct Linear<B: Backend> {
    weight: Weight<B>,
}

/// What the loader knows as a decoder, by its name.
#[derive(Module, Debug)]
struct LlamaDecoder<B: Backend> {
    layers: Vec<Linear<B>>,
    lm_head: Option<Linear<B>>,
}

#[derive(Module, Debug)]
struct Model<B: Backend> {
    decoder: LlamaDecoder<B>,
    encoder: Option<Linear<B>>,
}

/// Matrices of the fixture, and the shape of each.
const NUM_LAYERS: usize = 5;
const SHAPE: [usize; 2] = [12, 256];

/// The one whose numbers nearly all have the same sign.
const AWAY_FROM_ZERO: usize = 2;

fn linear(shape: [usize; 2]) -> Linear<Flex> {
    Linear {
        weight: Weight::of(shape),
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/packed")
}

fn load(
    module: Model<Flex>,
    checkpoint: &Checkpoint,
    matrices: MatrixType,
) -> (Model<Flex>, LoadReport) {
    let options = WeightOptions::default().with_matrices(matrices);
    load_module(module, checkpoint, &key_map(), options).unwrap()
}

fn key_map() -> KeyMap {
    KeyMap::new(&[
        KeyRule::rename_prefix("layers.", "decoder.layers."),
        KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    ])
}

/// A model of nothing but the layers of a decoder.
fn decoder(layers: Vec<Linear<Flex>>) -> Model<Flex> {
    Model {
        decoder: LlamaDecoder {
            layers,
            lm_head: None,
        },
        encoder: None,
    }
}

/// The matrices of the fixture as the layers of a decoder.
fn load_fixture(matrices: MatrixType) -> (Model<Flex>, LoadReport) {
    let layers = (0..NUM_LAYERS).map(|_| linear(SHAPE)).collect();
    load(
        decoder(layers),
        &Checkpoint::open(fixture()).unwrap(),
        matrices,
    )
}

fn relative_error(found: &[f32], exact: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = found.iter().zip(exact);
    norm(&mut pairs.map(|(found, exact)| f64::from(found - exact)))
        / norm(&mut exact.iter().map(|exact| f64::from(*exact)))
}

#[test]
fn packing_changes_a_matrix_no_more_than_ggml_does() {
    let errors = std::fs::read(fixture().join("errors.json")).unwrap();
    let errors: Value = serde_json::from_slice(&errors).unwrap();
    let exact = Checkpoint::open(fixture()).unwrap();
    for (matrices, packed_type, blocks) in [
        (MatrixType::Q8, PackedType::Q8, "Q8_0"),
        (MatrixType::Q4, PackedType::Q4, "Q4_0"),
    ] {
        let (model, _) = load_fixture(matrices);
        for (index, linear) in model.decoder.layers.iter().enumerate() {
            let packed_type = match (packed_type, index) {
                (PackedType::Q4, AWAY_FROM_ZERO) => PackedType::Q4WithMinimum,
                _ => packed_type,
            };
            assert_eq!(linear.weight.packed_type(), packed_type, "{index}");
            let stored = format!("layers.{index}.weight");
            let allowed = errors[&stored][blocks].as_f64().unwrap();
            let exact = exact.read(&stored).unwrap().to_f32().unwrap();
            let found = relative_error(&linear.weight.values(), &exact);
            assert!(
                found <= allowed,
                "{stored} in {packed_type}: {found}, {blocks} {allowed}"
            );
            assert!(found > 0.0, "{stored} is rounded");
        }
    }
}

/// A file of f32 tensors of these shapes, of numbers around zero.
fn scattered(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let numbers = |shape: &[usize]| (0..shape.iter().product()).map(scattered_number);
    f32_file(
        tensors
            .iter()
            .map(|(name, shape)| (*name, *shape, numbers(shape).collect())),
    )
}

/// From -50 to 50.
fn scattered_number(index: usize) -> f32 {
    (index * 37 % 101) as f32 - 50.0
}

fn f32_file<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize], Vec<f32>)>) -> Vec<u8> {
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect();
    let tensors: Vec<_> = tensors
        .map(|(name, shape, values)| (name, "F32", shape, bytes(values)))
        .collect();
    typed_safetensors(&tensors)
}

/// Numbers that four bits and a minimum hold.
fn of_four_bits(count: usize) -> Vec<f32> {
    let element = |index: usize| {
        let group = (index / GROUP_LEN) as f32;
        let code = (index * 7 % GROUP_LEN / 2) as f32;
        0.125 * (1.0 + group) * code - group
    };
    (0..count).map(element).collect()
}

#[test]
fn what_was_of_four_bits_before_it_was_floats_comes_back_as_it_was() {
    // 25 rows, of which only some are looked at for the choice.
    let shape = [25, 64];
    let values = of_four_bits(25 * 64);
    let file = f32_file([("layers.0.weight", &shape[..], values.clone())].into_iter());
    let folder = folder(&[("model.safetensors", &file)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    for matrices in [MatrixType::Q4, MatrixType::Q8] {
        let (model, report) = load(decoder(vec![linear(shape)]), &checkpoint, matrices);
        let weight = &model.decoder.layers[0].weight;
        assert_eq!(weight.packed_type(), PackedType::Q4WithMinimum);
        assert_eq!(weight.values(), values);
        assert_eq!(report.kept_bytes, 50 * 20);
    }
}

#[test]
fn a_small_tensor_in_a_fused_matrix_is_looked_at_too() {
    let values = (0..2 * 64).map(scattered_number).collect();
    let tensors = [
        ("q.weight", &[98, 64][..], of_four_bits(98 * 64)),
        ("v.weight", &[2, 64][..], values),
    ];
    let folder = folder(&[("model.safetensors", &f32_file(tensors.into_iter()))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let options = WeightOptions::default().with_matrices(MatrixType::Q8);
    let key_map = KeyMap::new(&[KeyRule::stack(&["q.", "v."], "decoder.layers.0.")]);
    let module = decoder(vec![linear([100, 64])]);
    let (model, _) = load_module(module, &checkpoint, &key_map, options).unwrap();
    let weight = &model.decoder.layers[0].weight;
    assert_eq!(weight.packed_type(), PackedType::Q8);
}

#[test]
fn a_head_stays_in_eight_bits_though_four_would_hold_it() {
    let model = Model {
        decoder: LlamaDecoder {
            layers: vec![linear([6, 64])],
            lm_head: Some(linear([6, 64])),
        },
        encoder: None,
    };
    let tensors = ["layers.0.weight", "lm_head.weight"]
        .map(|name| (name, &[6, 64][..], of_four_bits(6 * 64)));
    let folder = folder(&[("model.safetensors", &f32_file(tensors.into_iter()))]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (model, _) = load(model, &checkpoint, MatrixType::Q4);
    let layer = &model.decoder.layers[0].weight;
    assert_eq!(layer.packed_type(), PackedType::Q4WithMinimum);
    let head = model.decoder.lm_head.unwrap();
    assert_eq!(head.weight.packed_type(), PackedType::Q8);
}

#[test]
fn the_layers_of_a_decoder_are_packed_its_head_carefully_and_nothing_else() {
    let model = Model {
        decoder: LlamaDecoder {
            layers: vec![linear([4, 64])],
            lm_head: Some(linear([6, 64])),
        },
        encoder: Some(linear([2, 64])),
    };
    let file = scattered(&[
        ("layers.0.weight", &[4, 64]),
        ("lm_head.weight", &[6, 64]),
        ("encoder.weight", &[2, 64]),
    ]);
    let folder = folder(&[("model.safetensors", &file)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (model, report) = load(model, &checkpoint, MatrixType::Q4);
    let head = model.decoder.lm_head.unwrap();
    assert_eq!(model.decoder.layers[0].weight.packed_type(), PackedType::Q4);
    assert_eq!(head.weight.packed_type(), PackedType::Q8);
    let encoder = model.encoder.unwrap();
    assert!(matches!(encoder.weight.matrix(), MatrixTensor::Float(_)));
    let f32 = KeptType::from(WeightType::F32);
    let (q8, q4) = (PackedType::Q8.into(), PackedType::Q4.into());
    let kept: Vec<_> = report.matrices.clone().into_iter().collect();
    assert_eq!(kept, [(f32, 1), (q8, 1), (q4, 1)]);
    assert!(
        report.kept.is_empty(),
        "codes are no parameters of their own: {report}"
    );
    assert_eq!(report.kept_bytes, 8 * 18 + 12 * 34 + 128 * 4);
}

#[test]
fn rows_that_are_no_whole_groups_stay_floats_and_are_named() {
    let model = decoder(vec![linear([2, 48]), linear([2, 64])]);
    let file = scattered(&[("layers.0.weight", &[2, 48]), ("layers.1.weight", &[2, 64])]);
    let folder = folder(&[("model.safetensors", &file)]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let (model, report) = load(model, &checkpoint, MatrixType::Q8);
    assert_eq!(report.unpacked, ["decoder.layers.0.weight"]);
    let [ragged, whole] = &model.decoder.layers[..] else {
        panic!("two layers")
    };
    let expected: Vec<f32> = (0..96).map(scattered_number).collect();
    assert_eq!(ragged.weight.values(), expected);
    assert_eq!(whole.weight.packed_type(), PackedType::Q8);
    for (index, value) in whole.weight.values().into_iter().enumerate() {
        let expected = scattered_number(index);
        assert!((value - expected).abs() < 0.25, "{value} for {expected}");
    }
}

#[test]
fn what_is_too_large_for_a_scale_is_an_error_and_what_is_no_number_stays_none() {
    let load_one = |value: f32| {
        let mut values = vec![1.0f32; 128];
        values[70] = value;
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        let file = typed_safetensors(&[("layers.0.weight", "F32", &[2, 64], bytes)]);
        let folder = folder(&[("model.safetensors", &file)]);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let options = WeightOptions::default().with_matrices(MatrixType::Q8);
        load_module(
            decoder(vec![linear([2, 64])]),
            &checkpoint,
            &key_map(),
            options,
        )
    };
    let error = checkpoint_error(load_one(1e9));
    assert!(
        matches!(error, CheckpointError::Overflow { value: 1e9, .. }),
        "{error}"
    );
    for nonsense in [f32::NAN, f32::INFINITY] {
        let (model, _) = load_one(nonsense).unwrap();
        let values = model.decoder.layers[0].weight.values();
        assert!(
            values[64..96].iter().all(|value| value.is_nan()),
            "{values:?}"
        );
        assert!(
            values[..64]
                .iter()
                .chain(&values[96..])
                .all(|value| value.is_finite())
        );
    }
}

#[test]
fn blocks_that_hold_the_same_codes_are_copied() {
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/blocks.gguf");
    let checkpoint = Checkpoint::open_files(&[&blocks]).unwrap();
    for (name, packed_type) in [
        ("Q8_0", PackedType::Q8),
        ("Q4_0", PackedType::Q4),
        ("Q4_1", PackedType::Q4WithMinimum),
    ] {
        let shape = checkpoint.find(name).unwrap().1.info.shape().to_vec();
        let layer = Linear {
            weight: Weight::of([shape[0], shape[1]]),
        };
        let key_map = KeyMap::new(&[
            KeyRule::Only(KeyPattern::Prefix(name.into())),
            KeyRule::rename_prefix(name, "weight"),
        ]);
        let options = WeightOptions::default();
        let (layer, report) = load_module(layer, &checkpoint, &key_map, options).unwrap();
        assert_eq!(layer.weight.packed_type(), packed_type);
        assert!(report.dequantised.is_empty(), "{report}");
        let expected = checkpoint.read(name).unwrap().to_f32().unwrap();
        let pairs = layer.weight.values().into_iter().zip(expected);
        let mut finite = pairs
            .filter(|(_, expected)| expected.is_finite())
            .peekable();
        assert!(finite.peek().is_some());
        finite.for_each(|(found, expected)| assert_eq!(found, expected, "{name}"));
    }
}

#[test]
fn what_an_adapter_saved_whole_takes_the_place_of_a_packed_matrix() {
    let blocks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/blocks.gguf");
    let bare = Checkpoint::open_files(&[&blocks]).unwrap();
    let shape = |name: &str| -> [usize; 2] {
        let (_, entry) = bare.find(name).unwrap();
        entry.info.shape().try_into().unwrap()
    };
    let (head, layer) = (shape("Q8_0"), shape("Q4_0"));
    let key_map = KeyMap::new(&[
        KeyRule::rename_prefix("Q8_0.", "decoder.lm_head."),
        KeyRule::rename_prefix("Q8_0", "decoder.lm_head.weight"),
        KeyRule::rename_prefix("Q4_0.", "decoder.layers.0."),
        KeyRule::rename_prefix("Q4_0", "decoder.layers.0.weight"),
    ]);
    let blank = Model {
        decoder: LlamaDecoder {
            layers: vec![linear(layer)],
            lm_head: Some(linear(head)),
        },
        encoder: None,
    };
    let options = WeightOptions::default;
    let (module, _) = load_module(blank.clone(), &bare, &key_map, options()).unwrap();
    let config = r#"{"peft_type":"LORA","r":2,"lora_alpha":2,"target_modules":["Q4_0"],"modules_to_save":["Q8_0"]}"#;
    let files = f32_safetensors(&[
        ("base_model.model.Q8_0.weight", &head),
        ("base_model.model.Q4_0.lora_A.weight", &[2, layer[1]]),
        ("base_model.model.Q4_0.lora_B.weight", &[layer[0], 2]),
    ]);
    let folder = folder(&[
        ("adapter_config.json", config.as_bytes()),
        ("adapter_model.safetensors", &files),
    ]);
    let mut checkpoint = bare.clone();
    checkpoint.add_adapter(folder.path()).unwrap();
    let loaded = load_apart(&blank, module, &checkpoint, &key_map, options()).unwrap();
    assert_eq!(loaded.replaced, ["decoder.lm_head.weight"]);
    let adapted: Vec<_> = loaded.factors.keys().collect();
    assert_eq!(adapted, ["decoder.layers.0.weight"]);
    let decoder = loaded.module.decoder;
    assert_eq!(decoder.layers[0].weight.packed_type(), PackedType::Q4);
    let head_weight = decoder.lm_head.unwrap().weight;
    assert!(matches!(head_weight.matrix(), MatrixTensor::Float(_)));
    let expected: Vec<_> = (0..head[0] * head[1]).map(|value| value as f32).collect();
    assert_eq!(head_weight.numbers.val().dims(), head);
    assert_eq!(head_weight.values(), expected);
}
