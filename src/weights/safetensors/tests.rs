use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::weights::test_files::{checkpoint_error, f32_safetensors, folder, safetensors};

fn read(content: &[u8]) -> Result<BTreeMap<String, TensorEntry>> {
    let folder = folder(&[("model.safetensors", content)]);
    read_tensors(&WeightFile::open(&folder.path().join("model.safetensors"))?)
}

/// A file of one tensor `w`.
fn one(dtype: &str, shape: &str, offsets: &str, data: &[u8]) -> Vec<u8> {
    let entry = format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#);
    safetensors(&format!(r#"{{"w":{entry}}}"#), data)
}

/// A file of two f32 tensors `a` and `b` of two elements each, at any offsets.
fn two(a: &str, b: &str, data: &[u8]) -> Vec<u8> {
    let entry = |offsets| format!(r#"{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}"#);
    safetensors(&format!(r#"{{"a":{},"b":{}}}"#, entry(a), entry(b)), data)
}

#[test]
fn tensors_are_found_where_the_header_says() {
    let file = f32_safetensors(&[("b", &[2, 3]), ("a", &[4]), ("c", &[]), ("d", &[0, 5])]);
    let tensors = read(&file).unwrap();
    let start = file.len() as u64 - 11 * 4;
    assert_eq!(tensors["b"].offset, start);
    assert_eq!(tensors["a"].offset, start + 24);
    assert_eq!(tensors["b"].info.shape(), [2, 3]);
    assert_eq!(tensors["c"].info.len_bytes(), 4);
    assert_eq!(tensors["d"].info.len_bytes(), 0);
}

#[test]
fn metadata_and_padding_are_accepted() {
    let header = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}    "#;
    let tensors = read(&safetensors(header, &[0; 8])).unwrap();
    assert_eq!(tensors["w"].info.element_type(), ElementType::I64);
    assert!(read(&safetensors("{}", &[])).unwrap().is_empty());
}

#[test]
fn a_file_that_breaks_the_format_is_malformed() {
    let mut cut = one("F32", "[2]", "[0,8]", &[0; 8]);
    cut.truncate(30);
    let nested = format!(r#"{{"w":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let cases: [(&str, Vec<u8>); 17] = [
        ("empty", vec![]),
        ("seven bytes", vec![0; 7]),
        ("no header", vec![0; 8]),
        (
            "header beyond the end",
            [u64::to_le_bytes(100).as_slice(), b"{}"].concat(),
        ),
        ("cut inside the header", cut),
        (
            "not UTF-8",
            [u64::to_le_bytes(4).as_slice(), b"{\"\xff\"}"].concat(),
        ),
        ("not JSON", safetensors("hello", &[])),
        ("an array", safetensors("[]", &[])),
        ("nested", safetensors(&nested, &[])),
        (
            "metadata of numbers",
            safetensors(r#"{"__metadata__":{"a":1}}"#, &[]),
        ),
        ("negative shape", one("F32", "[-1]", "[0,4]", &[0; 4])),
        ("float shape", one("F32", "[2.0]", "[0,8]", &[0; 8])),
        ("three offsets", one("F32", "[1]", "[0,4,8]", &[0; 4])),
        (
            "repeated field",
            safetensors(
                r#"{"w":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#,
                &[0; 4],
            ),
        ),
        ("bytes at the end", one("F32", "[1]", "[0,4]", &[0; 9])),
        (
            "cut in the last tensor",
            one("F32", "[4]", "[0,16]", &[0; 12]),
        ),
        ("unknown element type", one("Q4_0", "[2]", "[0,1]", &[0])),
    ];
    for (case, content) in cases {
        let error = checkpoint_error(read(&content));
        assert!(
            matches!(error, CheckpointError::Malformed { .. }),
            "{case}: {error}"
        );
    }
}

#[test]
fn a_tensor_that_contradicts_the_file_is_named() {
    let cases = [
        ("overlap", "b", two("[0,8]", "[4,12]", &[0; 12])),
        ("same place", "b", two("[0,8]", "[0,8]", &[0; 8])),
        ("gap", "b", two("[0,8]", "[12,20]", &[0; 20])),
        ("gap at the start", "w", one("F32", "[1]", "[4,8]", &[0; 8])),
        (
            "backwards from the last",
            "b",
            two("[0,8]", "[8,4]", &[0; 8]),
        ),
        ("backwards", "w", one("F32", "[1]", "[4,0]", &[0; 4])),
        (
            "far beyond the end",
            "w",
            one("F32", "[4]", "[0,18446744073709551615]", &[0; 12]),
        ),
        ("too few bytes", "w", one("F32", "[4]", "[0,12]", &[0; 12])),
        ("too many bytes", "w", one("F16", "[4]", "[0,12]", &[0; 12])),
        (
            "overflowing shape",
            "w",
            one("F32", "[4294967296,4294967296]", "[0,0]", &[]),
        ),
        (
            "overflowing bytes",
            "w",
            one("F64", "[2305843009213693952]", "[0,0]", &[]),
        ),
    ];
    for (case, name, content) in cases {
        match checkpoint_error(read(&content)) {
            CheckpointError::InvalidTensor { tensor, .. } => assert_eq!(tensor, name, "{case}"),
            other => panic!("{case}: {other}"),
        }
    }
}

#[test]
fn sizes_that_sum_to_nothing_do_not_pass() {
    let size = (1u64 << 61) - 1;
    let entries: Vec<String> = (0..8u64)
        .map(|i| {
            let (start, end) = ((i * size) as i64 as u64, (i + 1).wrapping_mul(size));
            format!(r#""t{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let error = checkpoint_error(read(&safetensors(
        &format!("{{{}}}", entries.join(",")),
        &[],
    )));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
}

#[test]
fn a_repeated_tensor_is_named() {
    let entry = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let header = format!(r#"{{"w":{entry},"w":{entry}}}"#);
    match checkpoint_error(read(&safetensors(&header, &[0; 4]))) {
        CheckpointError::Duplicate { tensor, .. } => assert_eq!(tensor, "w"),
        other => panic!("{other}"),
    }
}

#[test]
fn element_types_that_are_not_whole_bytes_are_not_supported() {
    for dtype in ["F4", "F6_E2M3"] {
        let error = checkpoint_error(read(&one(dtype, "[2]", "[0,1]", &[0])));
        assert!(
            matches!(error, CheckpointError::Unsupported { .. }),
            "{dtype}: {error}"
        );
    }
}

#[test]
fn what_no_checkpoint_needs_is_over_the_limit() {
    let long_name = format!(
        r#"{{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#,
        "x".repeat(2000)
    );
    let cases = [
        ("endless header", u64::MAX.to_le_bytes().to_vec()),
        ("long header", (MAX_HEADER_BYTES + 1).to_le_bytes().to_vec()),
        ("long name", safetensors(&long_name, &[0])),
        ("nine axes", one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", &[0])),
    ];
    for (case, content) in cases {
        let error = checkpoint_error(read(&content));
        assert!(
            matches!(error, CheckpointError::Limit { .. }),
            "{case}: {error}"
        );
    }
}

#[test]
fn too_many_tensors_are_counted_and_refused() {
    let empty = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let entries: Vec<String> = (0..=MAX_TENSORS)
        .map(|n| format!(r#""{n}":{empty}"#))
        .collect();
    match checkpoint_error(read(&safetensors(
        &format!("{{{}}}", entries.join(",")),
        &[],
    ))) {
        CheckpointError::Limit { found, limit, .. } => assert_eq!(found, limit + 1),
        other => panic!("{other}"),
    }
}

#[test]
fn a_name_with_control_characters_is_shown_escaped() {
    let header = r#"{"a\u001b[2J\n":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let error = checkpoint_error(read(&safetensors(header, &[0])));
    assert!(
        matches!(error, CheckpointError::InvalidTensor { .. }),
        "{error}"
    );
    assert!(
        !error
            .to_string()
            .contains(|character: char| character.is_control())
    );
}

#[test]
fn every_truncation_of_a_file_is_an_error() {
    let file = f32_safetensors(&[("a", &[3]), ("b", &[2, 2])]);
    for len in 0..file.len() {
        assert!(read(&file[..len]).is_err(), "{len}");
    }
}

proptest! {
    #[test]
    fn files_of_the_safetensors_crate_are_read_as_it_reads_them(
        shapes in prop::collection::hash_map("[a-z.]{1,8}", prop::collection::vec(0usize..4, 0..4), 0..6)
    ) {
        let data: Vec<u8> = (0..=255).collect();
        let views: HashMap<_, _> = shapes.iter().map(|(name, shape)| {
            let len = shape.iter().product::<usize>() * 2;
            let view = ::safetensors::tensor::TensorView::new(
                ::safetensors::Dtype::F16, shape.clone(), &data[..len],
            );
            (name.clone(), view.unwrap())
        }).collect();
        let file = ::safetensors::serialize(views, None).unwrap();
        let theirs = ::safetensors::SafeTensors::deserialize(&file).unwrap();
        let ours = read(&file).unwrap();
        prop_assert_eq!(ours.len(), theirs.len());
        for (name, entry) in ours {
            let view = theirs.tensor(&name).unwrap();
            prop_assert_eq!(entry.info.shape(), view.shape());
            let start = view.data().as_ptr() as usize - file.as_ptr() as usize;
            prop_assert!(view.data().is_empty() || entry.offset == start as u64);
        }
    }

    #[test]
    fn a_changed_byte_never_makes_us_accept_what_the_crate_refuses(
        position in 0usize..200, value: u8
    ) {
        let mut file = f32_safetensors(&[("a", &[3]), ("b", &[2, 2])]);
        let position = position % file.len();
        file[position] = value;
        if read(&file).is_ok() {
            prop_assert!(::safetensors::SafeTensors::deserialize(&file).is_ok());
        }
    }
}
