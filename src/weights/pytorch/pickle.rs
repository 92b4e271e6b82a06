//! A pickle reader that can make nothing but tensors.
//!
//! A pickle is a program that may call any Python function. This one knows the opcodes that
//! `torch.save` writes for a state dict and the few callables behind a tensor; whatever else is
//! asked for is an error that names it. Values live in flat tables and refer to each other by
//! position, so that neither depth nor sharing can exhaust the stack or multiply memory.

use std::collections::HashMap;

use super::byte_reader::ByteReader;
use super::global::Global;
use super::heap::{Heap, Storage, Value, View};
use super::opcode;
use crate::weights::limits::{MAX_PICKLE_VALUES, MAX_RANK};

/// Bytes of a storage's key.
const MAX_KEY_BYTES: usize = 64;

/// Why a pickle is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickleError {
    /// It ends early or does not follow the rules of pickles.
    Malformed(String),
    /// It asks for a Python object that is not part of a tensor.
    ForbiddenGlobal(String),
    /// It makes more values than any checkpoint needs.
    TooManyValues,
}

type Result<T> = std::result::Result<T, PickleError>;

/// Reads a pickle: its tables, and the value it stands for.
pub(super) fn load(bytes: &[u8]) -> Result<(Heap<'_>, Value)> {
    load_front(bytes).map(|(heap, root, _)| (heap, root))
}

/// As [`load`], from the front of `bytes`; returns also how many bytes it takes.
pub(super) fn load_front(bytes: &[u8]) -> Result<(Heap<'_>, Value, usize)> {
    let mut machine = Machine {
        reader: ByteReader::new(bytes),
        heap: Heap::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget: MAX_PICKLE_VALUES,
    };
    loop {
        match machine.byte()? {
            opcode::STOP => break,
            code => machine.step(code)?,
        }
    }
    let root = machine.pop()?;
    let len = bytes.len() - machine.reader.rest_len();
    Ok((machine.heap, root, len))
}

struct Machine<'a> {
    reader: ByteReader<'a>,
    heap: Heap<'a>,
    stack: Vec<Value>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Values that may still be made or remembered.
    budget: usize,
}

impl<'a> Machine<'a> {
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            opcode::PROTO => self.protocol(),
            opcode::FRAME => self.bytes(8).map(drop),
            opcode::MARK => self.mark(),
            opcode::NONE => self.push(Value::None),
            opcode::NEW_TRUE | opcode::NEW_FALSE => {
                self.push(Value::Bool(code == opcode::NEW_TRUE))
            }
            opcode::BIN_FLOAT => self.bytes(8).and_then(|_| self.push(Value::Float)),
            opcode::BIN_INT | opcode::BIN_INT_1 | opcode::BIN_INT_2 => self.integer(code),
            opcode::LONG_1 => self.long(),
            opcode::BIN_UNICODE | opcode::SHORT_BIN_UNICODE => self.text(code),
            opcode::EMPTY_LIST | opcode::EMPTY_TUPLE => self.sequence(Vec::new()),
            opcode::TUPLE_1 | opcode::TUPLE_2 | opcode::TUPLE_3 => self.short_tuple(code),
            opcode::TUPLE => self.pop_to_mark().and_then(|items| self.sequence(items)),
            opcode::APPEND | opcode::APPENDS => self.append(code),
            opcode::EMPTY_DICT => self.dict(),
            opcode::SET_ITEM | opcode::SET_ITEMS => self.set_items(code),
            opcode::BIN_PUT | opcode::LONG_BIN_PUT | opcode::MEMOIZE => self.remember(code),
            opcode::BIN_GET | opcode::LONG_BIN_GET => self.recall(code),
            opcode::GLOBAL | opcode::STACK_GLOBAL => self.global(code),
            opcode::REDUCE => self.reduce(),
            opcode::BUILD => self.build(),
            opcode::BIN_PERSISTENT_ID => self.storage(),
            _ => Err(malformed(format!(
                "opcode {code:#04x} is not part of a state dict"
            ))),
        }
    }

    fn protocol(&mut self) -> Result<()> {
        match self.byte()? {
            2..=5 => Ok(()),
            version => Err(malformed(format!("pickle protocol {version} is not known"))),
        }
    }

    fn mark(&mut self) -> Result<()> {
        self.spend()?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn integer(&mut self, code: u8) -> Result<()> {
        let value = match code {
            opcode::BIN_INT_1 => self.reader.u8().map(i64::from),
            opcode::BIN_INT_2 => self.reader.u16().map(i64::from),
            _ => self.reader.i32().map(i64::from),
        };
        self.push(Value::Int(value.ok_or_else(cut)?))
    }

    /// An integer of any length; torch needs no more than 64 bits.
    fn long(&mut self) -> Result<()> {
        let len = self.byte()?;
        let bytes = self.bytes(len.into())?;
        if bytes.len() > 8 {
            return Err(malformed("an integer has more than 64 bits"));
        }
        let is_negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut wide = if is_negative { [0xff; 8] } else { [0; 8] };
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    fn text(&mut self, code: u8) -> Result<()> {
        let len = match code {
            opcode::SHORT_BIN_UNICODE => self.byte()?.into(),
            _ => self.reader.u32().ok_or_else(cut)?,
        };
        let bytes = self.bytes(len as usize)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|error| malformed(format!("a text is not UTF-8: {error}")))?;
        let value = self.heap.add_text(text);
        self.push(value)
    }

    fn short_tuple(&mut self, code: u8) -> Result<()> {
        let len = usize::from(code - opcode::TUPLE_1) + 1;
        let start = self
            .stack
            .len()
            .checked_sub(len)
            .filter(|start| *start >= self.floor());
        let items = self.stack.split_off(start.ok_or_else(underflow)?);
        self.sequence(items)
    }

    fn sequence(&mut self, items: Vec<Value>) -> Result<()> {
        let value = self.heap.add_sequence(items);
        self.push(value)
    }

    fn dict(&mut self) -> Result<()> {
        let value = self.heap.add_dict();
        self.push(value)
    }

    fn append(&mut self, code: u8) -> Result<()> {
        let items = if code == opcode::APPEND {
            vec![self.pop()?]
        } else {
            self.pop_to_mark()?
        };
        match self.top()? {
            Value::Sequence(id) => self.heap.sequence_mut(id).extend(items),
            _ => return Err(malformed("items are added to something that is no list")),
        }
        Ok(())
    }

    fn set_items(&mut self, code: u8) -> Result<()> {
        let items = if code == opcode::SET_ITEM {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_to_mark()?
        };
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(malformed("a dictionary has a key without a value"));
        };
        match self.top()? {
            Value::Dict(id) => self
                .heap
                .dict_mut(id)
                .extend(pairs.iter().map(|[k, v]| (*k, *v))),
            _ => return Err(malformed("keys are set in something that is no dictionary")),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Result<()> {
        let slot = match code {
            opcode::BIN_PUT => self.byte()?.into(),
            opcode::LONG_BIN_PUT => self.reader.u32().ok_or_else(cut)?,
            _ => u32::try_from(self.memo.len()).expect("the budget bounds the memo"),
        };
        self.spend()?;
        let value = self.top()?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<()> {
        let slot = match code {
            opcode::BIN_GET => self.byte()?.into(),
            _ => self.reader.u32().ok_or_else(cut)?,
        };
        let missing = || malformed(format!("memo slot {slot} was never filled"));
        let value = *self.memo.get(&slot).ok_or_else(missing)?;
        self.push(value)
    }

    fn global(&mut self, code: u8) -> Result<()> {
        let (module, name) = if code == opcode::GLOBAL {
            (self.line()?, self.line()?)
        } else {
            let name = self.pop()?;
            let module = self.pop()?;
            (self.heap.text(module), self.heap.text(name))
        };
        let (Some(module), Some(name)) = (module, name) else {
            return Err(malformed(
                "a Python object is named by something that is no text",
            ));
        };
        match Global::from_names(module, name) {
            Some(global) => self.push(Value::Global(global)),
            None => Err(PickleError::ForbiddenGlobal(Global::visible(module, name))),
        }
    }

    fn line(&mut self) -> Result<Option<&'a str>> {
        Ok(std::str::from_utf8(self.reader.line().ok_or_else(cut)?).ok())
    }

    /// Calls one of the known callables.
    fn reduce(&mut self) -> Result<()> {
        let (mut arguments, mut callable) = (self.pop()?, self.pop()?);
        if let Value::Global(Global::RebuildFromType) = callable {
            (callable, arguments) = self.inner_call(arguments)?;
        }
        let Some(arguments) = self.heap.sequence(arguments) else {
            return Err(malformed("a call has no tuple of arguments"));
        };
        match callable {
            Value::Global(Global::OrderedDict) if arguments.is_empty() => self.dict(),
            Value::Global(Global::RebuildTensor) => {
                let view = rebuild_tensor(&self.heap, arguments)
                    .ok_or_else(|| malformed("a tensor is described in an unknown way"))?;
                let value = self.heap.add_tensor(view);
                self.push(value)
            }
            Value::Global(Global::RebuildParameter) => match arguments.first() {
                Some(tensor @ Value::Tensor(_)) => self.push(*tensor),
                _ => Err(malformed("a parameter holds no tensor")),
            },
            _ => Err(malformed("something is called that cannot be")),
        }
    }

    /// `(callable, type, arguments, attributes)`: the call behind a tensor that has attributes.
    fn inner_call(&self, arguments: Value) -> Result<(Value, Value)> {
        match self.heap.sequence(arguments) {
            Some(&[callable, Value::Global(Global::TensorType), arguments, _]) => {
                Ok((callable, arguments))
            }
            _ => Err(malformed("a tensor is described in an unknown way")),
        }
    }

    /// Gives an object its attributes: a state dict carries version numbers, which nobody needs.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Value::Dict(_) => Ok(()),
            _ => Err(malformed(
                "attributes are set on something that is no dictionary",
            )),
        }
    }

    /// The name of a storage: `("storage", type, key, device, elements)`, before version 1.6 followed
    /// by the part of it that is meant.
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let storage = parse_storage(&self.heap, id)
            .ok_or_else(|| malformed("a storage is described in an unknown way"))?;
        let value = self.heap.add_storage(storage);
        self.push(value)
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.spend()?;
        self.stack.push(value);
        Ok(())
    }

    /// What was on the stack before an open mark is out of reach until the mark is closed.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn top(&self) -> Result<Value> {
        self.stack[self.floor()..]
            .last()
            .copied()
            .ok_or_else(underflow)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    fn spend(&mut self) -> Result<()> {
        self.budget = self
            .budget
            .checked_sub(1)
            .ok_or(PickleError::TooManyValues)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        self.reader.u8().ok_or_else(cut)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        self.reader.take(len).ok_or_else(cut)
    }
}

/// `(storage, offset, shape, strides, ..)`; what follows is about gradients.
fn rebuild_tensor(heap: &Heap, arguments: &[Value]) -> Option<View> {
    let [
        Value::Storage(storage),
        Value::Int(offset),
        shape,
        strides,
        ..,
    ] = arguments
    else {
        return None;
    };
    let (shape, strides) = (lengths(heap, *shape)?, lengths(heap, *strides)?);
    if shape.len() != strides.len() || shape.len() > MAX_RANK {
        return None;
    }
    Some(View {
        storage: *storage,
        offset: usize::try_from(*offset).ok()?,
        shape,
        strides,
    })
}

fn parse_storage<'a>(heap: &Heap<'a>, id: Value) -> Option<Storage<'a>> {
    let [
        kind,
        Value::Global(Global::Storage(element_type)),
        key,
        _,
        Value::Int(len),
        ref part @ ..,
    ] = *heap.sequence(id)?
    else {
        return None;
    };
    if heap.text(kind)? != "storage" {
        return None;
    }
    let first = match *part {
        [] | [Value::None] => 0,
        [part] => first_of_part(heap, part)?,
        _ => return None,
    };
    // The key becomes a name once for each tensor; real ones are short numbers.
    let key = heap.text(key).filter(|key| key.len() <= MAX_KEY_BYTES)?;
    Some(Storage {
        element_type,
        key,
        len: usize::try_from(len).ok()?,
        first,
    })
}

/// `(key, first, elements)`: a part of a storage that is a storage itself.
fn first_of_part(heap: &Heap, part: Value) -> Option<usize> {
    match *heap.sequence(part)? {
        [_, Value::Int(first), Value::Int(_)] => usize::try_from(first).ok(),
        _ => None,
    }
}

fn lengths(heap: &Heap, value: Value) -> Option<Vec<usize>> {
    let length = |value: &Value| match value {
        Value::Int(length) => usize::try_from(*length).ok(),
        _ => None,
    };
    let values = heap.sequence(value)?;
    // Before anything is copied: the same long tuple may be named a million times.
    if values.len() > MAX_RANK {
        return None;
    }
    values.iter().map(length).collect()
}

fn malformed(reason: impl Into<String>) -> PickleError {
    PickleError::Malformed(reason.into())
}

fn cut() -> PickleError {
    malformed("its pickle ends early")
}

fn underflow() -> PickleError {
    malformed("its pickle takes values that were never put")
}

#[cfg(test)]
mod tests;
