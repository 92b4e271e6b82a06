use super::*;
use crate::error::CheckpointError;
use crate::weights::test_files::{checkpoint_error, folder, typed_safetensors};

fn open(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Result<Checkpoint> {
    let folder = folder(&[("saved", &typed_safetensors(tensors))]);
    Checkpoint::open_saved(&folder.path().join("saved"))
}

#[test]
fn bytes_are_blocks_where_their_name_and_their_shape_say_so() {
    let checkpoint = open(&[
        ("a.weight:Q4_0", "U8", &[3, 36], vec![0; 108]),
        ("b.weight:Q8_0", "U8", &[1, 34], vec![0; 34]),
        ("c.weight:Q4_0", "U8", &[1, 35], vec![0; 35]),
        ("d.weight:Q5_0", "U8", &[1, 22], vec![0; 22]),
        ("e.weight:Q4_0", "F32", &[1, 18], vec![0; 72]),
        ("f.bias", "F32", &[2], vec![0; 8]),
    ])
    .unwrap();
    let found: Vec<_> = checkpoint
        .iter()
        .map(|(name, info)| (name, info.element_type().name(), info.shape()))
        .collect();
    let expected: [(&str, &str, &[usize]); 6] = [
        ("a.weight", "Q4_0", &[3, 64]),
        ("b.weight", "Q8_0", &[1, 32]),
        ("c.weight:Q4_0", "U8", &[1, 35]),
        ("d.weight:Q5_0", "U8", &[1, 22]),
        ("e.weight:Q4_0", "F32", &[1, 18]),
        ("f.bias", "F32", &[2]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_parameter_is_saved_once() {
    let twice = open(&[
        ("a.weight", "F32", &[1, 32], vec![0; 128]),
        ("a.weight:Q8_0", "U8", &[1, 34], vec![0; 34]),
    ]);
    let error = checkpoint_error(twice);
    assert!(
        matches!(&error, CheckpointError::InvalidTensor { tensor, .. } if tensor == "a.weight"),
        "{error}"
    );
}

#[test]
fn a_block_is_the_numbers_and_then_the_codes_of_its_group() {
    let [codes, numbers] = [
        (0..32).collect::<Vec<u8>>(),
        vec![90, 91, 92, 93, 94, 95, 96, 97],
    ];
    let found = blocks(BlockType::Q4_1, &codes, &numbers);
    let expected = [&numbers[..4], &codes[..16], &numbers[4..], &codes[16..]].concat();
    assert_eq!(found, expected);
}
