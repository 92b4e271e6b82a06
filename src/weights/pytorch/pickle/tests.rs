use proptest::prelude::*;

use super::*;

fn error(pickle: &[u8]) -> PickleError {
    load(pickle).unwrap_err()
}

fn reason(pickle: &[u8]) -> String {
    match error(pickle) {
        PickleError::Malformed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_values_are_read() {
    let (heap, root) = load(b"\x80\x02}(K\x05\x8a\x02\xff\xffM\x00\x01N\x88\x89J\xfe\xff\xff\xffG\x00\x00\x00\x00\x00\x00\x00\x00u.").unwrap();
    let entries = heap.dict(root).unwrap();
    assert_eq!(entries[0], (Value::Int(5), Value::Int(-1)));
    assert_eq!(entries[1], (Value::Int(256), Value::None));
    assert_eq!(entries[2], (Value::Bool(true), Value::Bool(false)));
    assert_eq!(entries[3], (Value::Int(-2), Value::Float));
}

#[test]
fn only_the_parts_of_a_tensor_may_be_named() {
    for (pickle, name) in [
        (b"\x80\x02cos\nsystem\n.".as_slice(), "os.system"),
        (b"\x80\x02cbuiltins\neval\n.", "builtins.eval"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "posix.system"),
        (
            b"\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n.",
            "torch._utils._rebuild_sparse_tensor",
        ),
        (
            b"\x80\x02ctorch._utils\n_rebuild_qtensor\n.",
            "torch._utils._rebuild_qtensor",
        ),
        (b"\x80\x02cx\x1b[2J\ny\n.", "x\\u{1b}[2J.y"),
    ] {
        assert_eq!(
            error(pickle),
            PickleError::ForbiddenGlobal(name.to_string())
        );
    }
}

#[test]
fn opcodes_that_make_other_objects_are_refused() {
    // INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, PERSID, BINBYTES8, BYTEARRAY8, DUP, POP
    for code in *b"io\x81\x92\x82P\x8e\x9620" {
        assert!(
            reason(&[0x80, 2, b'N', code, b'.']).starts_with("opcode"),
            "{code:#x}"
        );
    }
}

#[test]
fn a_call_must_be_of_a_callable_with_its_arguments() {
    for pickle in [
        b"\x80\x02NN R.".as_slice(),
        b"\x80\x02N)R.",
        b"\x80\x02ccollections\nOrderedDict\nNR.",
        b"\x80\x02ccollections\nOrderedDict\nN\x85R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nN\x85R.",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n)R.",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nN)NtR.",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch\nTensor\nctorch\nTensor\n)NtR.",
        b"\x80\x02NNb.",
        b"\x80\x02NQ.",
        b"\x80\x02(tQ.",
        b"\x80\x02NNa.",
        b"\x80\x02NNNs.",
        b"\x80\x02}(Nu.",
    ] {
        reason(pickle);
    }
}

#[test]
fn the_stack_cannot_be_taken_below_its_start_or_its_mark() {
    for pickle in [
        b"\x80\x02.".as_slice(),
        b"\x80\x02N(.",
        b"\x80\x02\x86.",
        b"\x80\x02t.",
        b"\x80\x02N(\x85t.",
        b"\x80\x02h\x00.",
    ] {
        reason(pickle);
    }
}

#[test]
fn lengths_beyond_the_end_allocate_nothing() {
    for pickle in [
        b"\x80\x02X\xff\xff\xff\xffabc".as_slice(),
        b"\x80\x02\x8a\xff",
        b"\x80\x02G\x00",
        b"\x80\x02cos",
        b"\x80",
        b"",
        b"\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.",
        b"\x80\x09N.",
    ] {
        reason(pickle);
    }
}

#[test]
fn values_are_bounded_whatever_makes_them() {
    for unit in [b"N".as_slice(), b"(", b"}", b"h\x00", b"q\x00"] {
        let pickle = [
            b"\x80\x02Nq\x00".to_vec(),
            unit.repeat(MAX_PICKLE_VALUES + 1),
        ]
        .concat();
        assert_eq!(error(&pickle), PickleError::TooManyValues);
    }
}

#[test]
fn deep_nesting_neither_overflows_the_stack_nor_when_it_is_dropped() {
    let pickle = [
        b"\x80\x02N".to_vec(),
        b"\x85".repeat(900_000),
        b".".to_vec(),
    ]
    .concat();
    let (heap, root) = load(&pickle).unwrap();
    assert!(heap.sequence(root).is_some());
}

proptest! {
    #[test]
    fn any_sequence_of_opcodes_ends_without_a_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)
    ) {
        let _outcome = load(&pieces.concat());
    }
}

/// Opcodes with their arguments, so that random sequences get far.
const PIECES: &[&[u8]] = &[
    b"N",
    b"(",
    b")",
    b"]",
    b"}",
    b"K\x01",
    b"K\x00",
    b"\x85",
    b"\x86",
    b"\x87",
    b"t",
    b"a",
    b"e",
    b"s",
    b"u",
    b"R",
    b"b",
    b"Q",
    b"q\x00",
    b"q\x01",
    b"h\x00",
    b"h\x01",
    b"\x94",
    b"\x93",
    b"X\x07\x00\x00\x00storage",
    b"ctorch\nFloatStorage\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b".",
];
