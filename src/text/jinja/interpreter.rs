//! Runs the statements of a template.

mod expressions;
mod macros;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::meter::Meter;
use super::syntax::{Filter, Loop, Statement, StatementKind, Target, Template};
use super::text::{Author, Text, TextBuilder};
use super::value::{List, LoopValue, MacroValue, Result, Value, failure, unsupported};

/// Deepest nesting of what is being run; with the stack that a render has, each level may take
/// 32 KiB.
const MAX_DEPTH: usize = 2000;

/// The frame of the variables that a template is given, and that of those it sets itself.
const GIVEN: usize = 0;
const TOP: usize = 1;

/// Variables, and the frame in which those are looked up that it lacks.
#[derive(Debug, Default)]
struct Frame {
    variables: Vec<(Arc<str>, Value)>,
    parent: Option<usize>,
}

/// Where a template goes on behind a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(super) struct Interpreter<'t> {
    template: &'t Template,
    pub(super) meter: &'t Meter,
    /// A stack: a macro is never called when the frame that defined it is gone, because nothing
    /// outlives a frame that could hold the macro.
    frames: Vec<Frame>,
    current: usize,
    depth: usize,
    /// Whether reading a namespace is refused, because Python would read it at another time.
    hides_namespaces: bool,
    /// The time of the render, in seconds.
    pub(super) now: i64,
    line: u32,
}

impl<'t> Interpreter<'t> {
    pub(super) fn new(
        template: &'t Template,
        variables: Vec<(Arc<str>, Value)>,
        now: i64,
        meter: &'t Meter,
    ) -> Self {
        let given = Frame {
            variables,
            parent: None,
        };
        let top = Frame {
            variables: Vec::new(),
            parent: Some(GIVEN),
        };
        Self {
            template,
            meter,
            frames: vec![given, top],
            current: TOP,
            depth: 0,
            hides_namespaces: false,
            now,
            line: 0,
        }
    }

    /// The line that was run last.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Runs the whole template.
    pub(super) fn run(&mut self) -> Result<Text> {
        let mut out = TextBuilder::new(self.meter);
        self.statements(&self.template.body, &mut out)?;
        Ok(out.finish())
    }

    /// Runs `inner` one level deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.meter.steps(2)?;
        if self.depth == MAX_DEPTH {
            return Err(unsupported(format!("recursion of {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Runs `inner` in a frame of its own, whose variables are gone afterwards.
    fn in_frame<T>(
        &mut self,
        parent: usize,
        inner: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.meter.steps(2)?;
        let (caller, height) = (self.current, self.frames.len());
        self.frames.push(Frame {
            variables: Vec::new(),
            parent: Some(parent),
        });
        self.current = height;
        let result = inner(self);
        self.frames.truncate(height);
        self.current = caller;
        result
    }

    fn lookup(&self, name: &str) -> Result<Option<Value>> {
        let mut frame = Some(self.current);
        while let Some(found) = frame.and_then(|index| self.frames.get(index)) {
            self.meter.steps(found.variables.len() as u64 / 8 + 1)?;
            let mut variables = found.variables.iter();
            if let Some((_, value)) = variables.find(|(found, _)| &**found == name) {
                return Ok(Some(value.clone()));
            }
            frame = found.parent;
        }
        Ok(None)
    }

    fn define(&mut self, name: &Arc<str>, value: Value) -> Result<()> {
        let variables = &mut self.frames[self.current].variables;
        self.meter.steps(variables.len() as u64 / 8 + 1)?;
        match variables.iter_mut().find(|(found, _)| found == name) {
            Some(variable) => variable.1 = value,
            None => variables.push((Arc::clone(name), value)),
        }
        Ok(())
    }

    fn assign(&mut self, target: &Target, value: Value) -> Result<()> {
        match target {
            Target::Name(name) => self.define(name, value),
            Target::Attribute { object, name } => match self.lookup(object)? {
                Some(Value::Namespace(namespace)) => namespace.set(name, value, self.meter),
                _ => Err(failure(format!("`{object}` is no namespace"))),
            },
            Target::Tuple(targets) => {
                let values = value.items(self.meter)?;
                value.check_defined()?;
                if values.len() != targets.len() {
                    return Err(failure(format!(
                        "{} values cannot be unpacked into {} names",
                        values.len(),
                        targets.len()
                    )));
                }
                let mut pairs = targets.iter().zip(values);
                pairs.try_for_each(|(target, value)| self.assign(target, value))
            }
        }
    }

    fn statements(&mut self, body: &'t [Statement], out: &mut TextBuilder<'t>) -> Result<Flow> {
        for statement in body {
            self.line = statement.line;
            let flow = self.deeper(|inner| inner.statement(&statement.kind, out))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, kind: &'t StatementKind, out: &mut TextBuilder<'t>) -> Result<Flow> {
        match kind {
            StatementKind::Text(text) => out.push(text, Author::Template)?,
            StatementKind::Print(values) => {
                for value in values {
                    self.evaluate(value)?.print(out)?;
                }
            }
            StatementKind::For(found) => {
                let iterable = self.evaluate(&found.iterable)?;
                return self.for_loop(found, None, 0, &iterable, out);
            }
            StatementKind::RecursiveFor(index) => {
                let found = &self.template.recursive_loops[*index];
                let iterable = self.evaluate(&found.iterable)?;
                let recursion = Some((*index, self.current));
                return self.for_loop(found, recursion, 0, &iterable, out);
            }
            StatementKind::If {
                branches,
                otherwise,
            } => {
                for (test, body) in branches {
                    if self.evaluate(test)?.is_true() {
                        return self.statements(body, out);
                    }
                }
                return self.statements(otherwise, out);
            }
            StatementKind::Set { target, value } => {
                let value = self.evaluate(value)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock {
                target,
                filters,
                body,
            } => {
                let value = self.captured(body, filters)?;
                self.assign(target, value)?;
            }
            StatementKind::Filter { filters, body } => {
                self.captured(body, filters)?.print(out)?;
            }
            StatementKind::With { variables, body } => {
                let mut values = Vec::new();
                for (target, value) in variables {
                    values.push((target, self.evaluate(value)?));
                }
                return self.in_frame(self.current, |inner| {
                    for (target, value) in values {
                        inner.assign(target, value)?;
                    }
                    inner.statements(body, out)
                });
            }
            StatementKind::Macro(index) => {
                let frame = self.current;
                let value = Value::Macro(Rc::new(MacroValue {
                    index: *index,
                    frame,
                }));
                self.define(&self.template.macros[*index].name, value)?;
            }
            StatementKind::Call { caller, call } => {
                self.call_block(*caller, call)?.print(out)?;
            }
            StatementKind::Generation(body) => {
                return self.in_frame(self.current, |inner| inner.statements(body, out));
            }
            StatementKind::Block(body) => {
                return self.in_frame(TOP, |inner| inner.statements(body, out));
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// What statements write, through filters.
    fn captured(&mut self, body: &'t [Statement], filters: &'t [Filter]) -> Result<Value> {
        let mut out = TextBuilder::new(self.meter);
        let flow = self.in_frame(self.current, |inner| inner.statements(body, &mut out))?;
        if flow != Flow::Next {
            return Err(unsupported(
                "leaving a loop from inside of a captured block",
            ));
        }
        let mut value = Value::Str(out.finish());
        for filter in filters {
            value = self.apply_filter(value, filter)?;
        }
        Ok(value)
    }

    fn for_loop(
        &mut self,
        found: &'t Loop,
        recursion: Option<(usize, usize)>,
        depth: usize,
        iterable: &Value,
        out: &mut TextBuilder<'t>,
    ) -> Result<Flow> {
        let mut items = iterable.to_list(self.meter)?;
        // Python asks the condition of an item when the loop gets to it, or when `loop` looks ahead.
        let asks_early = found.uses_loop && found.condition.is_some();
        let parent = recursion.map_or(self.current, |(_, frame)| frame);
        if asks_early {
            items = self.selected(found, &items, parent)?;
        }
        let state = Rc::new(LoopValue {
            items: items.clone(),
            index: Cell::new(0),
            depth,
            last_changed: RefCell::new(None),
            recursion,
        });
        let loop_name = Arc::from("loop");
        let mut is_empty = true;
        for (index, item) in items.items().iter().enumerate() {
            state.index.set(index);
            let flow = self.in_frame(parent, |inner| {
                inner.assign(&found.target, item.clone())?;
                if !asks_early && !inner.is_selected(found)? {
                    return Ok(None);
                }
                if found.uses_loop {
                    inner.define(&loop_name, Value::Loop(Rc::clone(&state)))?;
                }
                inner.statements(&found.body, out).map(Some)
            })?;
            is_empty &= flow.is_none();
            if flow == Some(Flow::Break) {
                break;
            }
        }
        match is_empty {
            true => self.in_frame(parent, |inner| inner.statements(&found.otherwise, out)),
            false => Ok(Flow::Next),
        }
    }

    fn is_selected(&mut self, found: &'t Loop) -> Result<bool> {
        match &found.condition {
            Some(condition) => Ok(self.evaluate(condition)?.is_true()),
            None => Ok(true),
        }
    }

    /// The items for which the condition of a loop holds.
    fn selected(&mut self, found: &'t Loop, items: &List, parent: usize) -> Result<List> {
        let mut selected = Vec::new();
        let hid_namespaces = std::mem::replace(&mut self.hides_namespaces, true);
        for item in items.items() {
            let is_selected = self.in_frame(parent, |inner| {
                inner.assign(&found.target, item.clone())?;
                inner.is_selected(found)
            })?;
            if is_selected {
                selected.push(item.clone());
            }
        }
        self.hides_namespaces = hid_namespaces;
        List::cut_by(selected, items.author_of_cuts(), self.meter)
    }
}
