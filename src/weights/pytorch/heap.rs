//! The values of a pickle, in flat tables.

use super::global::Global;
use crate::weights::element::ElementType;

/// A value, small enough to copy; what is larger is a position in a table of [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// Its value nobody asks.
    Float,
    Int(i64),
    Text(TextId),
    /// A tuple or a list.
    Sequence(SequenceId),
    Dict(DictId),
    Global(Global),
    Storage(StorageId),
    Tensor(TensorId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextId(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SequenceId(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DictId(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StorageId(usize);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TensorId(usize);

/// Memory that tensors are views of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) element_type: ElementType,
    /// Its name: in an archive, that of the entry in the folder `data`.
    pub(super) key: &'a str,
    /// Elements.
    pub(super) len: usize,
    /// The first element that counts: a storage may be a part of the one that is stored.
    pub(super) first: usize,
}

/// A tensor: a window on a storage, counted in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) storage: StorageId,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Everything a pickle made. Text stays in the pickle's own bytes.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    texts: Vec<&'a str>,
    sequences: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<View>,
}

impl<'a> Heap<'a> {
    pub(super) fn add_text(&mut self, text: &'a str) -> Value {
        self.texts.push(text);
        Value::Text(TextId(self.texts.len() - 1))
    }

    pub(super) fn add_sequence(&mut self, items: Vec<Value>) -> Value {
        self.sequences.push(items);
        Value::Sequence(SequenceId(self.sequences.len() - 1))
    }

    pub(super) fn add_dict(&mut self) -> Value {
        self.dicts.push(Vec::new());
        Value::Dict(DictId(self.dicts.len() - 1))
    }

    pub(super) fn add_storage(&mut self, storage: Storage<'a>) -> Value {
        self.storages.push(storage);
        Value::Storage(StorageId(self.storages.len() - 1))
    }

    pub(super) fn add_tensor(&mut self, view: View) -> Value {
        self.tensors.push(view);
        Value::Tensor(TensorId(self.tensors.len() - 1))
    }

    /// The text that `value` is, if it is one.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        match value {
            Value::Text(TextId(index)) => Some(self.texts[index]),
            _ => None,
        }
    }

    /// The items of the tuple or list that `value` is, if it is one.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match value {
            Value::Sequence(SequenceId(index)) => Some(&self.sequences[index]),
            _ => None,
        }
    }

    /// The entries of the dictionary that `value` is, if it is one.
    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match value {
            Value::Dict(DictId(index)) => Some(&self.dicts[index]),
            _ => None,
        }
    }

    pub(super) fn sequence_mut(&mut self, id: SequenceId) -> &mut Vec<Value> {
        &mut self.sequences[id.0]
    }

    pub(super) fn dict_mut(&mut self, id: DictId) -> &mut Vec<(Value, Value)> {
        &mut self.dicts[id.0]
    }

    pub(super) fn storage(&self, id: StorageId) -> Storage<'a> {
        self.storages[id.0]
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.storages.iter().copied()
    }

    pub(super) fn tensor(&self, id: TensorId) -> &View {
        &self.tensors[id.0]
    }
}
